"""The judge: a perfect generator gets the figures of real images, and each fault shows in its own measure."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.errors import UnusableDataset
from backend.training.judging.feature_networks import FeatureNetwork
from backend.training.judging.judge import Judge, JudgeSettings, quick, record
from backend.training.judging.pose_regressor import PoseErrors, PoseNetwork, PoseRegressor
from backend.training.judging.sampling import Poses, cameras_of, generate, in_range
from backend.training.judging.shapes import compare_shapes, read_shapes, unit_points

from .boxes import FOV, INFO, RADIUS, BoxGenerator, box_chairs, chair_mesh

SETTINGS = JudgeSettings(
    images=96, consistency_seeds=1, consistency_pairs=3, consistency_step=0.1, shapes=6, shape_resolution=32
)


def _thumbnails(images: Tensor) -> Tensor:
    """Features without a network: colours of an 8 × 8 thumbnail, and the contrast within each of its cells."""
    mean = F.adaptive_avg_pool2d(images, 8)
    contrast = F.adaptive_avg_pool2d((images - F.interpolate(mean, 32)).abs(), 8)
    return torch.cat((mean.flatten(1), 4 * contrast.flatten(1)), 1)


NETWORK = FeatureNetwork("thumbnails", 32, _thumbnails)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    folder = tmp_path_factory.mktemp("shapes")
    for seed in range(6):
        chair_mesh(20_000 + seed).export(folder / f"{seed}.ply")
    data = box_chairs(80, 4)
    held_out = box_chairs(40, 4, first=500)
    random = np.random.default_rng(0)
    training = [unit_points(mesh.vertices, mesh.faces, random) for mesh in map(chair_mesh, range(30))]
    return Judge(
        data, NETWORK, held_out=held_out, shapes=read_shapes(folder, 6), training_shapes=training, settings=SETTINGS
    )


def test_a_perfect_generator_has_the_figures_of_real_images(judge: Judge) -> None:
    found = judge(BoxGenerator()).figures
    distances, variety, copies = found["distances"], found["variety"], found["copies"]
    assert abs(distances["kid_x1000"]) < 4 * distances["kid_x1000_error"]
    assert distances["frechet"] < 2 * distances["frechet_real"]
    assert 0.85 < variety["ratio"] < 1.15 and copies["share"] < 0.15
    assert found["consistency"]["psnr"] > found["consistency"]["psnr_not_reprojected"] + 4
    assert found["shapes"]["failed"] == 0 and found["shapes"]["matching_distance"] < 0.12
    assert found["images"] == 96 and found["features"] == "thumbnails"
    assert set(found["left_out"]) == {"poses"}


def _blurred(image: Tensor) -> Tensor:
    return F.avg_pool2d(image.permute(2, 0, 1), 5, 1, 2, count_include_pad=False).permute(1, 2, 0)


FAULTS = {
    "blurred": BoxGenerator(worse=_blurred),
    "one chair for all seeds": BoxGenerator(seed_of=lambda seed: 10_000),
    "training chairs": BoxGenerator(seed_of=lambda seed: seed % 80),
}


def test_each_fault_shows_in_its_own_measure(judge: Judge) -> None:
    perfect = judge(BoxGenerator()).figures
    found = {name: judge(generator).figures for name, generator in FAULTS.items()}
    kid = {name: figures["distances"]["kid_x1000"] for name, figures in found.items()}
    error = perfect["distances"]["kid_x1000_error"]
    assert kid["blurred"] > 5 * error and kid["one chair for all seeds"] > 5 * error
    assert found["one chair for all seeds"]["variety"]["ratio"] < 0.6
    assert found["training chairs"]["variety"]["ratio"] > 0.85
    assert found["training chairs"]["shapes"]["copies"] > 0.6 > 0.4 > perfect["shapes"]["copies"]
    assert found["one chair for all seeds"]["shapes"]["coverage"] < 0.2


def test_the_same_generator_gets_the_same_figures_and_a_table_that_names_the_features(judge: Judge) -> None:
    first, second = (judge(BoxGenerator()) for _ in range(2))
    assert {**first.figures, "seconds": 0} == {**second.figures, "seconds": 0}
    assert "features: thumbnails" in first.markdown and "KID-like × 1000" in first.markdown
    assert set(first.sheets) == {"samples", "neighbours", "consistency"}


def test_a_training_is_followed_by_lines_of_figures(judge: Judge, tmp_path: Path) -> None:
    followed = Judge(judge.data, NETWORK, settings=replace(quick(), images=32))
    write = record(followed, tmp_path / "figures.jsonl")
    write(BoxGenerator(worse=torch.zeros_like), 10)
    write(BoxGenerator(), 20)
    narrow = replace(INFO, pose_prior=replace(INFO.pose_prior, azimuth=(0.0, 0.01)))
    write(replace(BoxGenerator(), info=narrow), 30)  # cannot be judged, and stops nothing
    lines = [json.loads(line) for line in (tmp_path / "figures.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20]
    assert lines[0]["distances"]["kid_x1000"] > 3 * lines[1]["distances"]["kid_x1000"]


def test_poses_are_compared_with_the_requested_ones(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    """A regressor that knows every pose by heart: the generator's own turn is what remains."""
    data = judge.held_out
    assert data is not None
    known = BoxGenerator()
    poses: dict[bytes, Tensor] = {}

    class Recall(PoseRegressor):
        def __call__(self, images: Tensor) -> Tensor:
            return torch.stack([poses[image.numpy().tobytes()] for image in images])

    errors = PoseErrors(0.0, 0.0, 0.0, 0.0, 1)
    posed = Judge(judge.data, NETWORK, held_out=data, settings=replace(SETTINGS, images=24, shapes=0))
    posed.regressor = Recall(PoseNetwork(), errors, RADIUS, FOV)
    turned = replace(known, turned=math.radians(20))
    real = posed._choose(turned, 32)
    images = generate(turned, cameras_of(turned.info, real.poses, 32), range(len(real.images)))
    for image, angles in zip(images, real.poses.angles, strict=True):
        # the chair turned by 20° looks as if seen from 20° further on
        poses[image.numpy().tobytes()] = angles + torch.tensor([math.radians(20), 0])
    found = posed(turned).figures["poses"]["generated"]
    assert found["errors"]["azimuth_median"] == pytest.approx(20, abs=0.1)
    assert found["slope"] == pytest.approx(1, abs=1e-3)


def test_images_without_poses_and_models_without_surface_are_judged_by_the_rest(judge: Judge) -> None:
    data = replace(judge.data, world_from_camera=None, intrinsics=None, objects=None)
    found = Judge(data, NETWORK, settings=SETTINGS)(BoxGenerator().flat()).figures
    assert set(found["left_out"]) == {"poses", "consistency", "shapes"} and "share" not in found["copies"]
    assert found["distances"]["kid_x1000"] < 100 * abs(found["distances"]["kid_x1000_real"]) + 100


def test_too_few_images_in_the_range_of_a_model_are_refused(judge: Judge) -> None:
    narrow = replace(INFO, pose_prior=replace(INFO.pose_prior, azimuth=(0.0, 0.01)))
    with pytest.raises(UnusableDataset, match="range of poses"):
        judge(replace(BoxGenerator(), info=narrow))


def test_cameras_of_the_data_show_the_object_at_its_size_in_any_unit() -> None:
    data = box_chairs(3, 2, first=10_000)
    assert data.world_from_camera is not None and data.intrinsics is not None
    poses = Poses(data.world_from_camera, data.intrinsics)
    made = generate(BoxGenerator(), cameras_of(INFO, poses, 32), [0, 0, 1, 1, 2, 2])
    assert (made.float() - data.images.float()).abs().mean() < 0.5
    wide = replace(INFO, pose_prior=replace(INFO.pose_prior, fov=2 * FOV))
    focal = float(cameras_of(wide, poses, 32)[0].intrinsics[1, 1])
    assert focal == pytest.approx(16 / math.tan(FOV), rel=1e-5)


def test_a_range_across_the_back_is_a_range() -> None:
    info = replace(INFO, pose_prior=replace(INFO.pose_prior, azimuth=(2.5, 4.0), elevation=(0.0, 0.5)))
    angles = torch.tensor([[3.0, 0.1], [-3.0, 0.1], [0.0, 0.1], [3.0, -0.3]])
    assert in_range(info, angles).tolist() == [True, True, False, False]


def test_shapes_of_one_family_cannot_be_told_apart_and_spheres_can() -> None:
    import trimesh

    random = np.random.default_rng(0)

    def cloud(mesh: Any) -> Any:
        return unit_points(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32), random)

    first, second = ([cloud(chair_mesh(start + seed)) for seed in range(10)] for start in (0, 100))
    same = compare_shapes(first, second)
    assert 0.2 <= same.neighbour_accuracy <= 0.8 and same.coverage >= 0.3
    spheres = [cloud(trimesh.creation.icosphere(2, 0.5 + 0.1 * i)) for i in range(10)]
    other = compare_shapes(spheres, second)
    assert other.neighbour_accuracy == 1 and other.matching_distance > 2 * same.matching_distance
    itself = compare_shapes(second, second)
    assert itself.coverage == 1 and itself.matching_distance == 0


def test_a_broken_mesh_is_refused(tmp_path: Path) -> None:
    assert read_shapes(tmp_path, 9) == []
    (tmp_path / "a.ply").write_bytes(b"nothing")
    with pytest.raises(UnusableDataset, match=r"a\.ply"):
        read_shapes(tmp_path, 9)
