"""Parity with the official implementations: `python -m tests.parity FOLDER`."""
