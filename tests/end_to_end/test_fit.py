"""The fast engine from pictures to mesh, over the service: killed on the way, and good in the end."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from addon.wire.messages import FitOptions, FitRequest, MeshRequest, SceneRef
from backend.blobs import BlobStore
from tests.backend.fixtures import fits, photographed
from tests.backend.service.process import COMMAND, ROOT, running

SIZE, STEPS = 48, 250


def test_a_fit_that_was_killed_becomes_a_good_mesh_in_the_right_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LATENT_LATHE_AUTOSAVE_SECONDS", "1")
    pictures = photographed.write(tmp_path / "pictures", size=SIZE, train=24, test=3)
    files = fits.upload(pictures, BlobStore(tmp_path / "blobs"))
    with running(tmp_path) as first:
        first.client.submit(FitRequest("things", files, FitOptions(preset="draft", steps=STEPS)))
        end = time.monotonic() + 400  # the first fit of a machine compiles its kernels
        while not (fits_now := first.client.models().fits) or fits_now[0].steps < 20:
            assert time.monotonic() < end
            time.sleep(0.1)
        first.process.kill()
        first.process.wait()
    with running(tmp_path) as second:
        client = second.client
        saved = client.models().fits[0]
        assert 20 <= saved.steps < STEPS and not saved.finished
        result = client.run(FitRequest("things", resume=True))
        assert result.steps == STEPS
        assert result.psnr is not None and result.psnr > 24
        assert result.ssim is not None and result.ssim > 0.85
        made = client.run(MeshRequest(SceneRef("things"), resolution=64))
        low, high = made.vertices.min(0), made.vertices.max(0)
        np.testing.assert_allclose(low[:2], photographed.BOX[0][:2], atol=0.08)
        assert low[2] < photographed.BOX[0][2] + 0.08, "nobody looked at it from below"
        np.testing.assert_allclose(high, [*photographed.BOX[1][:2], photographed.SPHERE], atol=0.08)
        assert made.colors is not None

    # the model's folder is what the command line takes too
    answer = subprocess.run(
        [*COMMAND, "--data", str(tmp_path), "eval", "things", str(pictures), "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, env=dict(os.environ),
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert len(found["views"]) == 3 and found["psnr"] == pytest.approx(result.psnr, abs=0.2)
