"""The task `sfm`: from uploads to a data set of uploads. COLMAP itself is tested in nerf/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from addon.wire import payload
from addon.wire.errors import BlobMissing, Cancelled, InvalidRequest
from addon.wire.messages import FitRequest, SfmRequest
from backend.nerf.datasets import open_dataset, write_transforms
from backend.nerf.sfm.options import SfmOptions
from backend.nerf.sfm.reconstruction import Reconstruction
from backend.nerf.sfm.report import HealthReport, ImageHealth
from backend.progress import Progress, silent
from backend.tasks import sfm as task
from backend.tasks.fit_staging import stage_files
from backend.tasks.workspace import Workspace
from tests.backend.fixtures import fits, photographed

REPORT = HealthReport(4, 4, 1, 2, 0.5, 100.0, 90.0, (0.0, 30.0), "level cameras",
                      (ImageHealth("r_0.png", True, 100, 9.0),), ("take more",), 1.0)  # fmt: skip


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Replaces the reconstruction by one that knows the answer; what it was asked."""
    asked: list[Any] = []

    def reconstruct(source: Path, out: Path, options: SfmOptions, progress: Progress) -> Reconstruction:
        names = [source.name] if source.is_file() else sorted(path.name for path in source.iterdir())
        asked.append((names, options))
        progress(0.5, "Matching")
        known = open_dataset(photographed.write(out, size=16, train=4, test=0))
        points = np.array([[0.0, 0.0, 0.5], [0.1, 0.0, 0.5]])
        (out / "transforms_train.json").unlink()
        write_transforms(out, known.views, points=points, colors=np.full((2, 3), 200, np.uint8))
        return Reconstruction(open_dataset(out), REPORT, np.eye(4))

    monkeypatch.setattr(task, "reconstruct", reconstruct)
    return asked


def files(workspace: Workspace, *names: str) -> dict[str, str]:
    return {name: workspace.blobs.put(name.encode()) for name in names}


def test_the_result_has_the_cameras_the_points_and_a_data_set_that_fit_takes(
    data: Path, tmp_path: Path, seen: list[Any]
) -> None:
    workspace = Workspace("cpu")
    request = SfmRequest(files(workspace, "a.jpg", "b.jpg", "c.jpg"), max_size=640, max_images=50)
    result = task.sfm(request, silent, workspace)
    assert seen == [(["a.jpg", "b.jpg", "c.jpg"], SfmOptions(max_size=640, max_images=50))]
    assert len(result.names) == 4 and result.world_from_camera.shape == (4, 4, 4)
    assert result.intrinsics.shape == (4, 3, 3) and result.sizes.tolist() == [[16, 16]] * 4
    assert result.points.shape == (2, 3) and result.colors.dtype == np.uint8
    assert json.loads(result.transforms)["frames"] and json.loads(result.report)["advice"] == ["take more"]
    stage_files(FitRequest("a", result.files, fits.options()).files, tmp_path / "again", workspace.blobs)
    again = open_dataset(tmp_path / "again")
    assert [view.name for view in again.views] == list(result.names)
    np.testing.assert_allclose([v.camera.world_from_camera.numpy() for v in again.views], result.world_from_camera)
    payload.unpack(payload.pack(result))
    assert list((data / "sfm").iterdir()) == []


def test_a_video_is_given_as_a_file_and_alone(data: Path, seen: list[Any]) -> None:
    workspace = Workspace("cpu")
    task.sfm(SfmRequest(files(workspace, "walk.MP4")), silent, workspace)
    assert seen[0][0] == ["walk.MP4"]
    for names in (("a.mp4", "b.mp4"), ("a.mp4", "b.jpg")):
        with pytest.raises(InvalidRequest, match="one video"):
            task.sfm(SfmRequest(files(workspace, *names)), silent, workspace)


def test_nothing_is_left_behind_by_a_cancel_or_a_missing_upload(data: Path, seen: list[Any]) -> None:
    workspace = Workspace("cpu")

    def stop(fraction: float, *_: Any, **__: Any) -> None:
        if fraction > 0.3:
            raise Cancelled

    with pytest.raises(Cancelled):
        task.sfm(SfmRequest(files(workspace, "a.jpg")), stop, workspace)
    with pytest.raises(BlobMissing):
        task.sfm(SfmRequest({"a.jpg": "0" * 64}), silent, workspace)
    assert list((data / "sfm").iterdir()) == []
