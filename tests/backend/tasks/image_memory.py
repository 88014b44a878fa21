"""Peak memory of one render: `python -m tests.backend.tasks.image_memory FOLDER SIZE [away]`.

Prints the peak of the process over what it held before the render, in bytes. away: the camera looks the other way, so
that what a pixel takes shows without the time that a full network takes for it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import torch

from addon.wire.messages import Latent
from backend.bench.peak import peak_bytes
from backend.cameras import from_wire, orbit
from backend.models.library import load_model
from backend.scenes.latents import ws_from_latent


def measured(folder: Path, size: int, *, away: bool) -> int:
    """Return the bytes over those held before."""
    torch.set_num_threads(1)
    generator = load_model(folder)
    with torch.no_grad():
        scene = generator.synthesize(ws_from_latent(generator, Latent(seed_a=1)))
        view = from_wire(orbit(generator.info, size))
        if away:
            matrix = view.world_from_camera.clone()
            matrix[:3, 3] *= -1  # behind the subject, looking outwards
            view = type(view)(matrix, view.intrinsics, view.width, view.height, view.projection)
        before = psutil.Process().memory_info().rss
        scene.render(view)
    return peak_bytes() - before


if __name__ == "__main__":
    sys.stdout.write(f"{measured(Path(sys.argv[1]), int(sys.argv[2]), away='away' in sys.argv)}\n")
