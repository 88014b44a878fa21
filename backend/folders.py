"""Folders of the backend's own files. Imports no PyTorch, so that the service starts fast."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_folder() -> Path:
    """Return the backend's own folder: models, jobs, blobs, logs."""
    return Path(os.environ.get("LATENT_LATHE_DATA") or platformdirs.user_data_dir("latent_lathe", False)).absolute()


def user_models() -> Path:
    """Return the folder of imported and trained models, below the data folder (LATENT_LATHE_DATA or --data)."""
    return data_folder() / "models"
