"""Every official file: imported and rendered by the command line, and its outputs reproduced by the import."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from addon.wire.messages import ModelInfo
from backend.checkpoints.convert import import_model, read_tree
from backend.generators import MODELS, importable_kinds
from backend.models.card import read_card
from backend.models.library import load_model
from backend.scenes.generator import Generator
from tests.backend.checkpoints.test_convert import OFFICIAL
from tests.parity.oracle import OracleSet, compare, read_set
from tests.parity.systems import load_system
from tests.shared import CHECKPOINTS, ORACLES

Command = Callable[..., tuple[int, str, str]]

MADE_HERE = {"hash_field", "edited"}
"""Kinds that have no official files: this project alone makes them."""


def test_every_kind_of_generator_is_imported_or_made_here() -> None:
    assert set(MODELS) == set(importable_kinds()) | MADE_HERE


# ---- through the command line


def read_png(path: Path) -> np.ndarray:
    """[height, width, 4]"""
    with Image.open(path) as image:
        return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_file_is_imported_and_rendered_by_the_command_line(
    backend_command: Command, tmp_path: Path, name: str
) -> None:
    status, out, err = backend_command("import", CHECKPOINTS / name, "--out", tmp_path / "model", "--json")
    assert status == 0, err
    assert json.loads(out)["kind"] == OFFICIAL[name]
    image = tmp_path / "image.png"
    status, out, err = backend_command(
        "generate", tmp_path / "model", "--seed", 1, "--size", 12, "--samples", 6, "--out", image, "--json"
    )
    assert status == 0, err
    assert json.loads(out)["files"] == [str(image)]
    pixels = read_png(image)
    assert pixels.shape == (12, 12, 4)
    if OFFICIAL[name] not in ("deepsdf", "nerf"):  # their random weights need not hold a surface in the view
        assert pixels[pixels[..., 3] > 0].std() > 0


CHANGES: dict[str, tuple[Any, ...]] = {
    "seed": ("--seed", 2),
    "mixed geometry": ("--seed2", 9, "--mix-geometry", 0.6),
    "mixed appearance": ("--seed2", 9, "--mix-appearance", 0.6),
    "both mixed": ("--seed2", 9, "--mix-geometry", 0.6, "--mix-appearance", 0.6),
    "truncation": ("--truncation", 0.5),
    "yaw": ("--yaw", 20),
    "pitch": ("--pitch", 15),
    "roll": ("--roll", 30),
    "fov": ("--fov", 25),
}

SOURCES = {
    "eg3d": "eg3d_network-snapshot-000000.pkl",
    "stylenerf": "stylenerf_network-snapshot-000000.pkl",
    "stylesdf": "stylesdf_full_model.pt",
    "shadegan": "shadegan_generator.pth",
    "pigan": "pigan",
    "graf": "graf_model.pt",
}


@pytest.mark.parametrize("kind", SOURCES)
def test_each_option_changes_the_image_and_the_same_options_repeat_it(
    backend_command: Command, tmp_path: Path, kind: str
) -> None:
    import_model(CHECKPOINTS / SOURCES[kind], tmp_path / "model")

    def made(*options: Any) -> bytes:
        image = tmp_path / "image.png"
        status, _, err = backend_command(
            "generate", tmp_path / "model", "--seed", 1, *options, "--size", 16, "--samples", 8, "--out", image
        )
        assert status == 0, err
        return read_png(image).tobytes()

    plain = made()
    changed = {name: made(*options) for name, options in CHANGES.items()}
    assert made() == plain
    assert len({plain, *changed.values()}) == len(CHANGES) + 1, [k for k, v in changed.items() if v == plain]
    assert made("--seed2", 9, "--mix-geometry", 1, "--mix-appearance", 1) == made("--seed", 9)
    assert made("--seed2", 9, "--mix-geometry", 0) == plain
    assert made("--truncation", 1) == plain
    assert made("--truncation", 0) == made("--truncation", 0, "--seed", 5)  # at 0 all are the average


@pytest.mark.parametrize("kind", ["eg3d", "pigan"])
def test_a_camera_path_becomes_frames_of_one_model(backend_command: Command, tmp_path: Path, kind: str) -> None:
    import_model(CHECKPOINTS / SOURCES[kind], tmp_path / "model")
    info = load_model(tmp_path / "model").info
    path = tmp_path / "camera_path.json"
    path.write_text(json.dumps(path_around(info, [-0.3, 0.0, 0.3])))
    status, out, err = backend_command(
        "generate", tmp_path / "model", "--camera-path", path, "--samples", 8, "--out", tmp_path / "frames", "--json"
    )
    assert status == 0, err
    files = [Path(file) for file in json.loads(out)["files"]]
    assert [file.name for file in files] == [f"frame_{i:05d}.png" for i in range(3)]
    assert len({read_png(file).tobytes() for file in files}) == 3
    # the middle one is the view that --yaw 0 shows
    status, _, err = backend_command(
        "generate", tmp_path / "model", "--size", 16, "--samples", 8, "--out", tmp_path / "front.png"
    )
    assert status == 0, err
    assert np.abs(read_png(files[1]).astype(int) - read_png(tmp_path / "front.png")).max() <= 1


def path_around(info: ModelInfo, azimuths: list[float]) -> dict[str, Any]:
    """A nerfstudio camera path at the model's own distance; 16 pixels a side."""
    prior, cameras = info.pose_prior, []
    for offset in azimuths:
        azimuth, elevation = prior.default_azimuth + offset, prior.default_elevation
        backward = np.array([
            math.cos(elevation) * math.sin(azimuth), -math.cos(elevation) * math.cos(azimuth), math.sin(elevation)
        ])  # fmt: skip
        right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack((right, np.cross(backward, right), backward), -1)
        matrix[:3, 3] = prior.radius * backward
        pose = {"camera_to_world": matrix.reshape(-1).tolist(), "fov": math.degrees(prior.fov), "aspect": 1.0}
        cameras.append(pose)
    return {
        "camera_type": "perspective", "render_height": 16, "render_width": 16, "fps": 24, "seconds": 1,
        "camera_path": cameras, "keyframes": [],
    }  # fmt: skip


# ---- what was imported, against the official outputs

REPRODUCED = [
    ("eg3d_network-snapshot-000000.pkl", "eg3d"),
    ("stylenerf_network-snapshot-000000.pkl", "stylenerf"),
    ("stylesdf_full_model.pt", "stylesdf"),
    ("shadegan_generator.pth", "shadegan"),
    ("graf_model.pt", "graf"),
    ("pigan/generator.pth", "pigan"),
    ("deepsdf_sofas", "deepsdf"),
    ("deepsdf_sofas/ModelParameters/2000_legacy.pth", "deepsdf"),
    ("editnerf_1000000.tar", "editnerf"),
    ("editnerf_1000000_legacy.tar", "editnerf"),
    ("nerf_200000.tar", "nerf"),
    ("nerf_200000_legacy.tar", "nerf"),
    ("nerf_tf1", "nerf_tf1"),
    ("nerf_tf1/model_200000.npy", "nerf_tf1"),
]

OF_THE_CALL = {
    "num_samples", "num_fine", "num_steps", "image_size", "coarse_samples", "fine_samples", "fov_degrees",
    "neural_resolution",
}  # fmt: skip
"""Of a config, what the official call says and the file does not: may differ from the set's."""


@cache
def oracle(name: str) -> OracleSet:
    return read_set(ORACLES / f"{name}.safetensors")


def network_of(generator: Generator) -> nn.Module:
    """The network in a generator, a stored scene or a DeepSDF, which is one."""
    found: object = getattr(generator, "network", None) or getattr(generator, "scene", generator)
    network = getattr(found, "nerf", found)
    assert isinstance(network, nn.Module)
    return network


def own_network(expected: OracleSet) -> Any:
    """The network of the set's own weights, with its own settings."""
    make = load_system(expected.system).network
    assert make is not None
    return make(expected)


def differences(ours: object, theirs: object, path: str = "") -> list[str]:
    """Names of the fields in which two configs differ."""
    if dataclasses.is_dataclass(ours) and dataclasses.is_dataclass(theirs):
        fields = [field.name for field in dataclasses.fields(ours)]
        return [d for f in fields for d in differences(getattr(ours, f), getattr(theirs, f), f)]
    return [] if ours == theirs else [path]


@pytest.mark.parametrize(("file", "name"), REPRODUCED, ids=lambda value: str(value))
def test_an_imported_model_reproduces_the_official_outputs(tmp_path: Path, file: str, name: str) -> None:
    source = CHECKPOINTS / file
    if name in ("pigan", "graf"):  # without the averages: their sets were made with the parameters as trained
        source = tmp_path / Path(file).name
        if name == "graf":
            trained = read_tree(CHECKPOINTS / file)
            assert isinstance(trained, dict)
            torch.save({key: value for key, value in trained.items() if key != "generator_test"}, source)
        else:
            shutil.copy(CHECKPOINTS / file, source)
    import_model(source, tmp_path / "model")
    network = network_of(load_model(tmp_path / "model"))
    system = load_system(oracle(name).system)
    own = own_network(oracle(name))
    if name != "deepsdf":
        of_the_call = OF_THE_CALL | ({"near", "far"} if name == "editnerf" else set())
        assert set(differences(network.config, own.config)) <= of_the_call
        own.load_state_dict(network.state_dict())
        network = own
    results = list(compare(oracle(name), system.outputs(oracle(name), network), system.not_reproduced))
    assert {result.output for result in results} == oracle(name).expected.keys()
    assert [result for result in results if not result.passed] == []


def test_the_averaged_parameters_give_the_image_they_give_officially(tmp_path: Path) -> None:
    import_model(CHECKPOINTS / "pigan", tmp_path / "model")
    averaged: dict[str, Tensor] = load_file(CHECKPOINTS / "pigan" / "expected_after_ema.safetensors")
    expected = dataclasses.replace(oracle("pigan"), weights=averaged)
    system = load_system(expected.system)
    own = own_network(expected)
    official = system.outputs(expected)
    own.load_state_dict(network_of(load_model(tmp_path / "model")).state_dict())
    ours = system.outputs(expected, own)
    assert all(torch.equal(ours[key], value) for key, value in official.items())
    before = oracle("pigan").expected["det_pixels"]
    assert (ours["det_pixels"] - before).abs().max() > 1e-3  # and another one than the parameters as trained


@pytest.mark.parametrize("name", ["graf_model.pt", "graf_model_legacy.pt"])
def test_of_two_generators_the_one_for_evaluation_is_imported(tmp_path: Path, name: str) -> None:
    import_model(CHECKPOINTS / name, tmp_path / "model")
    tree = read_tree(CHECKPOINTS / name)
    assert isinstance(tree, dict)
    weights = {f"generator.{key}": value for key, value in tree["generator_test"].items()}
    expected = dataclasses.replace(oracle("graf"), weights=weights)
    system = load_system(expected.system)
    own = own_network(expected)
    official = system.outputs(expected)
    own.load_state_dict(network_of(load_model(tmp_path / "model")).state_dict())
    assert all(torch.equal(value, official[key]) for key, value in system.outputs(expected, own).items())
    assert (official["rgb"] - oracle("graf").expected["rgb"]).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["pigan/generator.pth", "pigan/ema.pth"])
def test_a_generator_is_imported_with_the_averages_beside_it(tmp_path: Path, name: str) -> None:
    import_model(CHECKPOINTS / name, tmp_path / "model")
    import_model(CHECKPOINTS / "pigan", tmp_path / "whole")
    ours, whole = (network_of(load_model(tmp_path / folder)).state_dict() for folder in ("model", "whole"))
    assert all(torch.equal(ours[key], value) for key, value in whole.items())
    assert "averaged parameters (ema.pth) are used" in read_card(tmp_path / "model").card


# ---- what cannot be done, through the command line


@pytest.fixture(scope="module")
def graf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "graf"
    import_model(CHECKPOINTS / "graf_model.pt", folder)
    return folder


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--seed", -1), "seed A must be between 0 and 2147483647, got -1"),
        (("--seed", 2**31), "seed A must be between 0 and 2147483647"),
        (("--seed2", -5), "seed B must be between"),
        (("--seed2", 1, "--mix-geometry", 1.5), "mix_geometry must be between 0 and 1, got 1.5"),
        (("--seed2", 1, "--mix-appearance", -0.1), "mix_appearance must be between 0 and 1, got -0.1"),
        (("--seed2", 1, "--mix-appearance", "nan"), "mix_appearance must be between 0 and 1, got nan"),
        (("--mix-appearance", 0.5), "need --seed2"),
        (("--truncation", -1), "truncation_psi must be between 0 and 2, got -1"),
        (("--truncation", "inf"), "truncation_psi must be between 0 and 2, got inf"),
        (("--fov", 0), "--fov must be between 0.1 and 175 degrees"),
        (("--size", 0), "--size must be between 1 and 8192"),
        (("--samples", -1), "samples_per_ray must be between"),
        (("--control", "nothing=1"), "has no control 'nothing'"),
        (("--seed", "one"), "--seed"),
        (("--yaw", "nan"), "finite"),
        (("--camera-path", "missing.json"), "missing.json"),
    ],
)
def test_values_outside_the_range_are_a_sentence(
    backend_command: Command, graf: Path, tmp_path: Path, options: tuple[Any, ...], words: str
) -> None:
    image = tmp_path / "image.png"
    status, out, err = backend_command("generate", graf, *options, "--out", image)
    assert status in (1, 2) and out == "" and not image.exists()
    assert words in err and "Traceback" not in err


def test_a_value_outside_the_range_has_a_remedy_as_data(backend_command: Command, graf: Path, tmp_path: Path) -> None:
    _, out, _ = backend_command("generate", graf, "--truncation", 3, "--out", tmp_path / "image.png", "--json")
    error = json.loads(out)["error"]
    assert error["code"] == "invalid_request"
    assert error["remedy"] == {"action": "set_value", "label": "Set truncation_psi to 2", "value": "truncation_psi"}


def test_an_unknown_architecture_is_described_beside_those_that_exist(backend_command: Command, tmp_path: Path) -> None:
    torch.save({"encoder": {"conv.weight": torch.zeros(7, 5)}, "step": 3}, tmp_path / "other.pth")
    status, out, err = backend_command("import", tmp_path / "other.pth", "--out", tmp_path / "model")
    assert status == 1 and out == "" and not (tmp_path / "model").exists()
    for words in ("other.pth is of an unknown architecture", "encoder, step", "encoder.conv.weight [7, 5]"):
        assert words in err
    assert all(kind in err for kind in importable_kinds())


def is_binary(source: Path) -> bool:
    return source.is_file() and source.suffix not in (".json", ".index") and source.name != "checkpoint"


def test_a_model_is_replaced_only_when_told_to(backend_command: Command, tmp_path: Path) -> None:
    source = CHECKPOINTS / "graf_model.pt"
    assert backend_command("import", source, "--out", tmp_path / "model")[0] == 0
    before = (tmp_path / "model" / "card.json").read_bytes()
    status, _, err = backend_command("import", CHECKPOINTS / "gan3d_G.pth", "--out", tmp_path / "model")
    assert status == 1 and "--overwrite" in err and (tmp_path / "model" / "card.json").read_bytes() == before
    status, _, _ = backend_command("import", CHECKPOINTS / "gan3d_G.pth", "--out", tmp_path / "model", "--overwrite")
    assert status == 0 and (tmp_path / "model" / "card.json").read_bytes() != before


def test_a_folder_of_several_systems_is_refused_and_they_are_named(backend_command: Command, tmp_path: Path) -> None:
    status, _, err = backend_command("import", CHECKPOINTS, "--out", tmp_path / "model")
    assert status == 1 and not (tmp_path / "model").exists()
    assert "holds several systems" in err and "Choose one file" in err


@pytest.mark.parametrize("name", [name for name in OFFICIAL if is_binary(CHECKPOINTS / name)])
def test_half_a_download_is_said_to_be_so(backend_command: Command, tmp_path: Path, name: str) -> None:
    source = CHECKPOINTS / name
    half = tmp_path / source.name
    half.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    status, out, err = backend_command("import", half, "--out", tmp_path / "model")
    assert status == 1 and out == "" and not (tmp_path / "model").exists()
    assert "Download it again" in err and "Traceback" not in err


def test_a_folder_may_have_any_name(backend_command: Command, tmp_path: Path) -> None:
    for number, name in enumerate(("my model", "Gesichter (1) äöü", "_", "顔")):
        folder, image = tmp_path / name, tmp_path / f"{number}.png"
        assert backend_command("import", CHECKPOINTS / "stylesdf_full_model.pt", "--out", folder)[0] == 0
        status, _, err = backend_command("generate", folder, "--size", 8, "--out", image)
        assert status == 0, err
        assert image.is_file()
