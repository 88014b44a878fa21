"""Transport time of a frame beside its render: 512² RGBA + depth, from the client's submission to numpy arrays.

A backend process of its own serves; the client is the add-on's. The scene is a constant that costs nothing to render,
so the whole time from submission to arrays, with nothing subtracted, bounds from above what a frame costs over its
render. Of that, `ImageResult.seconds` is the task: mostly joining RGB and alpha and leaving torch. Both are shown.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import torch

from addon.link.client import Client
from addon.wire.messages import Camera, ImageResult, Latent, RenderRequest, SceneRef

from ..cameras import intrinsics_from_fov, look_at
from ..generators import MODELS
from ..models.card import ModelCard
from ..models.store import save_model
from . import gradient
from .gradient.scene import SIDE
from .row import Row

FRAMES = 60
TARGET_MILLISECONDS = 10.0


def serve() -> None:
    """Entry point of the measured process."""
    from ..folders import data_folder
    from ..service.serve import serve as run_service

    MODELS["gradient"] = gradient.__name__
    run_service(data_folder(), device="cpu")


def rows() -> list[Row]:
    """Return the bench's rows."""
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        card = ModelCard("gradient", "Gradient", "", "CC0-1.0", False, {})
        save_model(data / "models" / "gradient", card, {"none": torch.zeros(1)})
        child = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parents[2], env={**os.environ, "LATENT_LATHE_DATA": str(data)},
        )  # fmt: skip
        stack.callback(child.wait, 10)
        stack.callback(child.kill)
        assert child.stdout is not None
        handshake = json.loads(child.stdout.readline())
        client = Client(handshake["port"], handshake["token"])
        stack.callback(client.close)
        whole, outside = _measure(client)
    measure = f"{SIDE}² RGBA + depth, submission to numpy, over the render itself"
    return [
        Row(measure, whole, "ms", TARGET_MILLISECONDS, whole <= TARGET_MILLISECONDS),
        Row("of that, outside the task: HTTP, queue, bytes", outside, "ms"),
        Row("copying as many bytes once in memory, for scale", _copy_milliseconds(), "ms"),
    ]


def _measure(client: Client) -> tuple[float, float]:
    """Return the medians, in milliseconds, of a frame's whole time and of the part of it outside the task."""
    camera = Camera(look_at((0.0, -3.0, 0.0), (0.0, 0.0, 0.0)), intrinsics_from_fov(0.8, SIDE, SIDE), SIDE, SIDE)
    whole, outside = [], []
    for frame in range(-5, FRAMES):
        request = RenderRequest(SceneRef("gradient", Latent(seed_a=frame % 3)), camera)
        started = time.perf_counter()
        result: ImageResult = client.run(request)
        seconds = time.perf_counter() - started
        if result.depth[-1, -1] != frame % 3 or result.rgba.shape != (SIDE, SIDE, 4):
            raise AssertionError("the frame that came is not the frame that was asked for")
        if frame >= 0:
            whole.append(1000 * seconds)
            outside.append(1000 * (seconds - result.seconds))
    return statistics.median(whole), statistics.median(outside)


def _copy_milliseconds() -> float:
    source, target = np.ones((SIDE, SIDE, 5), np.float32), np.empty((SIDE, SIDE, 5), np.float32)
    times = []
    for _ in range(FRAMES):
        started = time.perf_counter()
        np.copyto(target, source)
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)
