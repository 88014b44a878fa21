"""Where the backend keeps its own files. Apart from `store`, so that the service starts before PyTorch is imported."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def data_folder() -> Path:
    """The backend's own folder: models, jobs, blobs, logs."""
    return Path(os.environ.get("LATENT_LATHE_DATA") or platformdirs.user_data_dir("latent_lathe", False))


def user_models() -> Path:
    """Where imported and trained models live, unless LATENT_LATHE_DATA or --data says otherwise."""
    return data_folder() / "models"
