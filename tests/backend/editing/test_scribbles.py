"""Edits by scribbles: what strokes mean, what an edit changes and what it leaves, layers, and bad strokes."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from addon.wire.errors import InvalidRequest, NotSupported, OutOfMemory, UnreadableFile, UnreadableModel
from backend.cameras import Camera, flattened, from_wire, orbit
from backend.editing import optimise
from backend.editing.mixing import sampled
from backend.editing.optimise import Options, edit
from backend.editing.parameters import choose
from backend.editing.run import PaintedView, add_edit
from backend.editing.scene import EditedGenerator, read_stack
from backend.editing.scribbles import LARGEST, Change, Scribble, read_strokes
from backend.generators.editnerf.codes import fit_gaussian
from backend.generators.editnerf.model import EditNeRF, EditNeRFConfig
from backend.generators.editnerf.scene import EditNeRFGenerator, load
from backend.models.card import ModelCard
from backend.models.library import load_model
from backend.models.store import save_model
from tests.backend.scenes.test_gradients import small_graf, small_hash_field, small_pigan

CONFIG = EditNeRFConfig(
    shape_dim=5, color_dim=4, embedding_dim=8, shared_layers=1, shared_width=12, instance_layers=1, instance_width=24,
    fusion_layers=1, fusion_width=24, color_width=16, point_frequencies=2, direction_frequencies=1, num_samples=32,
    num_fine=0, image_size=32, num_codes=6, rank=(4, 3), near=3.0, far=5.0, extent=0.5,
)  # fmt: skip
CARD = ModelCard("editnerf", "Cubes", "", "MIT", False, dataclasses.asdict(CONFIG))
SIDE = 32
RED = torch.tensor([0.9, 0.1, 0.1])


def network() -> EditNeRF:
    """A dense cube of half a unit in grey."""
    torch.manual_seed(4)
    made = EditNeRF(CONFIG)
    with torch.no_grad():
        made.fine.density.bias.fill_(8.0)
        made.codes.normal_()
    fit_gaussian(made)
    return made


def generator() -> EditNeRFGenerator:
    return load("cubes", CARD, network().state_dict())


def camera(made: Any, azimuth: float = 0.4) -> Camera:
    return from_wire(orbit(made.info, SIDE, azimuth=azimuth, elevation=0.2))


def strokes(rows: tuple[int, int] = (13, 19), columns: tuple[int, int] = (12, 20)) -> Tensor:
    found = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    found[rows[0] : rows[1], columns[0] : columns[1]] = True
    return found


def scribble(view: Camera, painted: Tensor, color: Tensor = RED, keep: Tensor | None = None) -> Scribble:
    return Scribble(view, painted, color.expand(SIDE, SIDE, 3), torch.zeros_like(painted) if keep is None else keep)


def test_a_colour_edit_is_seen_from_a_view_that_was_not_painted_and_changes_nothing_else() -> None:
    made = generator()
    ws, view = made.network.codes[0], camera(made)
    scene, held_back = made.synthesize(ws), camera(made, 0.75)
    change = Change(scene, [scribble(view, strokes())], "color")
    before = {name: value.clone() for name, value in made.network.state_dict().items()}
    result = edit(made, ws, [scribble(view, strokes())], "color", Options("all", steps=120, seconds=1e3))
    assert all(torch.equal(value, before[name]) for name, value in made.network.state_dict().items())
    assert result.losses[-1] < 0.05 * result.losses[0]
    edited = EditedGenerator(made, [result.layer]).synthesize(ws)
    difference, touched, _ = change.difference(sampled(scene, flattened(held_back.rays())))
    touched = touched.reshape(SIDE, SIDE)
    was, now = scene.render(held_back), edited.render(held_back)
    assert touched.sum() > 20 and torch.equal(now.rgb[~touched], was.rgb[~touched])
    wanted = was.rgb * was.alpha[..., None] + difference.rgb.reshape(SIDE, SIDE, 3)
    assert float((now.rgb * now.alpha[..., None] - wanted)[touched].abs().mean()) < 0.05
    solid = touched & (was.alpha > 0.99) & (difference.rgb.reshape(SIDE, SIDE, 3).norm(dim=-1) > 0.3)
    assert float((now.rgb[solid] - RED).abs().mean()) < 0.1
    with torch.no_grad():
        traced = edited.image(held_back)
    assert float((traced.over(1.0) - (now.rgb * now.alpha[..., None] + 1 - now.alpha[..., None])).abs().mean()) < 5e-3


def test_a_removed_part_is_transparent_and_keep_strokes_stay() -> None:
    made = generator()
    ws, view = made.network.codes[0], camera(made)
    keep = strokes((13, 16), (12, 20))
    painted = strokes((10, 22), (10, 22)) & ~keep
    result = edit(made, ws, [scribble(view, painted, keep=keep)], "remove", Options("all", steps=150, seconds=1e3))
    was, now = (one.render(view) for one in (made.synthesize(ws), EditedGenerator(made, [result.layer]).synthesize(ws)))
    gone = painted & (was.alpha > 0.99)
    assert float(now.alpha[gone].mean()) < 0.05
    assert float((now.alpha - was.alpha)[keep].abs().max()) < 0.1
    points = torch.tensor([[0.0, -0.4, 0.0], [0.0, -0.4, 0.45]])
    inside, _ = result.layer.region.under_strokes(points)  # type: ignore[union-attr]
    field = EditedGenerator(made, [result.layer]).synthesize(ws).field(points)
    assert inside.tolist() == [False, False] or float(field.value[inside].max()) < made.synthesize(ws).info.iso_level


def test_an_added_part_overlaps_the_object_and_takes_the_colour_of_its_strokes() -> None:
    made = generator()
    ws, view = made.network.codes[0], camera(made)
    change = Change(made.synthesize(ws), [scribble(view, strokes((2, 18), (14, 18)))], "add")
    difference, touched, _ = change.difference(sampled(change.scene, flattened(view.rays())))
    above = strokes((2, 5), (14, 18)).flatten()
    assert touched[above].all() and float(difference.alpha[above].min()) > 0.9
    assert torch.allclose(difference.rgb[above], RED * difference.alpha[above, None], atol=1e-3)


@pytest.mark.parametrize("kind", ["color", "remove"])
def test_each_choice_of_parameters_changes_those_alone(kind: str) -> None:
    made = generator()
    everything = made.parameters_for("all")
    chosen = {name: choose(made, kind, name) for name in ("codes", "late", "all", "hybrid")}  # type: ignore[arg-type]
    assert not chosen["codes"].weights and chosen["codes"].rows.tolist() == [True, True]  # type: ignore[union-attr]
    assert len(chosen["all"].weights) == len(everything) and chosen["all"].rows is None
    assert all(everything[place] is weight for place, weight in chosen["late"].weights.items())
    hybrid = {id(weight) for weight in chosen["hybrid"].weights.values()}
    color = {id(weight) for weight in made.parameters_for("appearance")}
    assert hybrid and (hybrid <= color if kind == "color" else not hybrid & color)
    assert chosen["hybrid"].rows.tolist() == [kind == "remove", kind == "color"]  # type: ignore[union-attr]


def test_codes_alone_are_edited_by_an_offset_of_ws() -> None:
    made = generator()
    view = camera(made)
    result = edit(made, made.network.codes[0], [scribble(view, strokes())], "color", Options("codes", 30, 1e3))
    assert not result.layer.weights and float(result.layer.ws.abs().max()) > 0.01  # type: ignore[union-attr]
    assert sum(result.losses[-5:]) < sum(result.losses[:5])


@pytest.mark.parametrize("name", ["graf", "pigan", "hash"])
def test_every_radiance_field_can_be_coloured(name: str) -> None:
    made: Any = {"graf": small_graf, "pigan": small_pigan, "hash": small_hash_field()}[name]()
    ws = made.mapping(made.sample_z(1))[0]
    result = edit(made, ws, [scribble(camera(made), strokes())], "color", Options("hybrid", 40, 1e3))
    assert sum(result.losses[-5:]) < 0.6 * sum(result.losses[:5])
    view = camera(made, 0.5)
    was, now = (one.synthesize(ws).render(view).rgb for one in (made, EditedGenerator(made, [result.layer])))
    changed = (was - now).abs().amax(-1) > 0.05
    assert changed.any() and float(changed.float().mean()) < 0.3


def test_a_removal_from_a_hash_field_changes_its_table_where_the_strokes_are() -> None:
    made = small_hash_field()()
    ws = made.mean_ws()
    with pytest.raises(NotSupported, match="is one scene without a latent"):
        edit(made, ws, [scribble(camera(made), strokes())], "remove", Options("codes", 5, 1e3))
    result = edit(made, ws, [scribble(camera(made), strokes())], "remove", Options("hybrid", 150, 1e3))
    was, now = (one.synthesize(ws).render(camera(made)) for one in (made, EditedGenerator(made, [result.layer])))
    assert float(now.alpha[strokes()].mean()) < 0.3 * float(was.alpha[strokes()].mean())
    assert torch.allclose(now.alpha[~strokes()], was.alpha[~strokes()], atol=1e-3)
    table = made.parameters_for("all")[0]
    moved = result.layer.weights[0].abs().amax(-1) > 0
    assert result.layer.weights[0].shape == table.shape and 0.01 < float(moved.float().mean()) < 0.9


# ---- files


def paint(path: Path, painted: Tensor, color: Tensor = RED, size: tuple[int, int] = (SIDE, SIDE)) -> Path:
    """Write strokes on a transparent image."""
    pixels = torch.cat((color.expand(*painted.shape, 3), painted[..., None].float()), -1)
    image = Image.fromarray((pixels * 255).round().to(torch.uint8).numpy(), "RGBA")
    image.resize(size, Image.Resampling.NEAREST).save(path)
    return path


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """An edited model on a model beside it."""
    save_model(tmp_path / "cubes", CARD, network().state_dict())
    made = load_model(tmp_path / "cubes")
    view = PaintedView(paint(tmp_path / "strokes.png", strokes()), (0.4, 0.2))
    add_edit(tmp_path / "cubes", made, made.network.codes[0], [view], "color", tmp_path / "edited",  # type: ignore[union-attr]
             Options("all", 40, 1e3), label="red")  # fmt: skip
    return tmp_path / "edited"


def test_an_edited_model_is_a_small_folder_that_renders_and_takes_a_second_edit(edited: Path) -> None:
    made = load_model(edited)
    assert isinstance(made, EditedGenerator) and made.info.kind == "edited" and made.info.label == "Cubes, edited"
    ws, view = made.base.network.codes[0], camera(made)  # type: ignore[attr-defined]
    assert (edited / "model.safetensors").stat().st_size < 64_000
    plain, red = made.base.synthesize(ws).render(view), made.synthesize(ws).render(view)
    assert float((plain.rgb - red.rgb).abs().max()) > 0.1
    second = PaintedView(paint(edited.parent / "b.png", strokes((20, 24)), torch.tensor([0.1, 0.1, 0.9])), (0.4, 0.2))
    add_edit(edited, made, ws, [second], "color", edited, Options("all", 40, 1e3))
    both = load_model(edited)
    assert [layer.label for layer in both.layers] == ["red", ""]  # type: ignore[attr-defined]
    image = both.synthesize(ws).render(view)
    painted = strokes()
    assert torch.allclose(image.rgb[painted], red.rgb[painted], atol=1e-5)
    assert float((image.rgb - red.rgb).abs().max()) > 0.1


def test_layers_are_switched_weighted_moved_and_deleted_by_the_command_line(
    backend_command: Callable[..., tuple[int, str, str]], edited: Path
) -> None:
    def layers(*options: object) -> list[dict[str, Any]]:
        status, out, err = backend_command("edit-layer", edited, 1, *options, "--json")
        assert status == 0, err
        found: list[dict[str, Any]] = json.loads(out)["layers"]
        return found

    made = load_model(edited)
    ws, view = made.base.network.codes[0], camera(made)  # type: ignore[attr-defined]
    full, none = made.synthesize(ws).render(view).rgb, made.base.synthesize(ws).render(view).rgb  # type: ignore[attr-defined]
    assert layers("--off")[0]["on"] is False
    assert torch.equal(load_model(edited).synthesize(ws).render(view).rgb, none)
    assert layers("--on", "--strength", 0.5)[0]["strength"] == 0.5
    half = load_model(edited).synthesize(ws).render(view).rgb
    assert 0.1 < float((half - none).norm() / (full - none).norm()) < 0.9
    status, _, err = backend_command("edit-layer", edited, 2, "--off")
    assert status == 1 and "There is no layer 2" in err
    assert layers("--remove") == []


def test_a_command_edits_a_model(backend_command: Callable[..., tuple[int, str, str]], edited: Path) -> None:
    status, out, err = backend_command(
        "edit", edited.parent / "cubes", "--strokes", edited.parent / "strokes.png", "--view", "23,11", "--seed", 3,
        "--kind", "remove", "--steps", 3, "--out", edited.parent / "second", "--json",
    )  # fmt: skip
    assert status == 0, err
    assert json.loads(out)["steps"] == 3
    assert read_stack(edited.parent / "second")[1][0].kind == "remove"


# ---- bad input: a sentence, and nothing lost


def test_edits_whose_model_is_missing_or_another_say_so_and_are_kept(edited: Path) -> None:
    moved = edited.parent / "elsewhere"
    (edited.parent / "cubes").rename(moved)
    with pytest.raises(UnreadableModel, match=r"stand on the model .*cubes, which cannot be loaded .*edits are kept"):
        load_model(edited)
    assert len(read_stack(edited)[1]) == 1
    torch.manual_seed(9)
    save_model(edited.parent / "cubes", CARD, EditNeRF(CONFIG).state_dict())
    with pytest.raises(UnreadableModel, match="were made on other weights"):
        load_model(edited)
    for file in (edited.parent / "cubes").iterdir():
        file.unlink()
    (edited.parent / "cubes").rmdir()
    moved.rename(edited.parent / "cubes")
    assert isinstance(load_model(edited), EditedGenerator)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing painted": ({"painted": torch.zeros(SIDE, SIDE, dtype=torch.bool)}, "strokes on view 1 are empty"),
    "beside the object": ({"painted": strokes((0, 3), (0, 3))}, "No stroke on view 1 is on the object"),
    "both kept and painted": ({"painted": strokes(), "keep": strokes()}, "48 of the 48 pixels painted on view 1"),
}


@pytest.mark.parametrize("name", BAD)
def test_strokes_that_mean_nothing_are_refused(name: str) -> None:
    made = generator()
    values, words = BAD[name]
    with pytest.raises(InvalidRequest, match=words):
        edit(made, made.network.codes[0], [scribble(camera(made), **values)], "color")


def test_an_empty_view_and_contradicting_views_are_refused() -> None:
    made = generator()
    view = camera(made)
    turned = torch.diag(torch.tensor([-1.0, 1, -1, 1]))
    away = dataclasses.replace(view, world_from_camera=view.world_from_camera @ turned)
    with pytest.raises(InvalidRequest, match="There is nothing on view 1"):
        edit(made, made.network.codes[0], [scribble(away, strokes())], "remove")
    two = [scribble(view, strokes()), scribble(camera(made, 0.5), strokes(), torch.tensor([0.1, 0.9, 0.1]))]
    with pytest.raises(InvalidRequest, match="Views 1 and 2 paint the same place in different colours"):
        edit(made, made.network.codes[0], two, "color")


def test_images_of_strokes_without_alpha_or_too_small_are_refused_and_huge_ones_reduced(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "opaque.png")
    with pytest.raises(UnreadableFile, match="has no alpha"):
        read_strokes(tmp_path / "opaque.png")
    with pytest.raises(InvalidRequest, match=r"tiny\.png is 4 × 4"):
        read_strokes(paint(tmp_path / "tiny.png", strokes(), size=(4, 4)))
    painted, color = read_strokes(paint(tmp_path / "huge.png", strokes(), size=(2048, 1024)))
    assert painted.shape == (LARGEST // 2, LARGEST) and torch.allclose(color[painted][0], RED, atol=3e-3)
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(UnreadableFile):
        read_strokes(tmp_path / "broken.png")


def test_where_memory_runs_out_the_edit_goes_on_with_fewer_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    made = generator()
    loss = optimise._loss

    def hungry(scene: Any, goal: Any) -> Tensor:
        if len(goal.alpha) > 128:
            raise torch.OutOfMemoryError("out of memory")
        return loss(scene, goal)

    monkeypatch.setattr(optimise, "_loss", hungry)
    result = edit(made, made.network.codes[0], [scribble(camera(made), strokes())], "color", Options("late", 5, 1e3))
    assert result.rays == 128 and len(result.losses) == 5
    before = {name: value.clone() for name, value in made.network.state_dict().items()}
    monkeypatch.setattr(
        optimise, "_loss", lambda scene, goal: hungry(scene, goal.at(torch.zeros(500, dtype=torch.long)))
    )
    with pytest.raises(OutOfMemory, match="its other edits are as they were"):
        edit(made, made.network.codes[0], [scribble(camera(made), strokes())], "color", Options("late", 5, 1e3))
    assert all(torch.equal(value, before[name]) for name, value in made.network.state_dict().items())


def test_a_stored_scene_has_no_codes_and_a_2d_network_no_rays() -> None:
    made = generator()
    flat = dataclasses.replace(made.synthesize(made.network.codes[0]).info, image_space=True)

    class Flat(EditNeRFGenerator):
        def synthesize(self, *arguments: Any, **options: Any) -> Any:
            scene = super().synthesize(*arguments, **options)
            scene.info = flat
            return scene

    with pytest.raises(NotSupported, match="come out of a 2D network"):
        edit(Flat(made.network, made.info), made.network.codes[0], [scribble(camera(made), strokes())], "color")


def test_strokes_of_a_layer_are_stored_exactly(edited: Path) -> None:
    region = read_stack(edited)[1][0].region
    assert region is not None and np.array_equal(region.views[0].strokes.numpy(), strokes().numpy())
    assert math.isclose(region.reach, 0.12, rel_tol=0.2)
