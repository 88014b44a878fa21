"""The backend process in the sidebar: set up, start, stop, check, log."""
