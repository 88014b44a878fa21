"""Saved state of a radiance fit in an experiment's folder, so that the same command resumes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save

from ...files import write_atomically
from ...nerf.fit.fitting import Fit


@dataclass(frozen=True)
class SavedFit:
    """File with the state of a fit, and the settings it belongs to."""

    path: Path
    settings: Mapping[str, Any]  # that JSON can hold

    def save(self, fit: Fit) -> None:
        """Write the file atomically."""
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in fit.tensors().items()}
        write_atomically(self.path, save(tensors, {"settings": json.dumps(self.settings)}))

    def restore(self, fit: Fit) -> None:
        """Resume a fit from the file, if there is one.

        Raises:
            ValueError: the file belongs to other settings.
        """
        if not self.path.exists():
            return
        with safe_open(self.path, "pt") as file:
            if json.loads((file.metadata() or {}).get("settings", "null")) != json.loads(json.dumps(self.settings)):
                raise ValueError(f"{self.path} belongs to a fit with other settings; give an empty folder")
            fit.restore({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
