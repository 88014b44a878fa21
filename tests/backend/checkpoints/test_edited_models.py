"""A model folder that was edited by hand or damaged is refused with an error that says what does not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from addon.wire.errors import UnreadableModel
from backend.cameras import from_wire, orbit
from backend.checkpoints.convert import import_model
from backend.models.library import load_model, misfit
from tests.shared import CHECKPOINTS

KINDS = {
    "pigan": "pigan",
    "graf": "graf_model.pt",
    "eg3d": "eg3d_network-snapshot-000000.pkl",
    "stylenerf": "stylenerf_network-snapshot-000000.pkl",
    "stylesdf": "stylesdf_full_model.pt",
    "shadegan": "shadegan_generator.pth",
    "deepsdf": "deepsdf_sofas",
    "nerf": "nerf_200000.tar",
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for kind, source in KINDS.items():
        import_model(CHECKPOINTS / source, folder / kind)
    return folder


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, originals: Path, tmp_path: Path) -> Path:
    """A copy of an imported model of each kind."""
    folder = tmp_path / request.param
    folder.mkdir()
    for file in (originals / request.param).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def edit_card(folder: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    card = json.loads((folder / "card.json").read_text())
    change(card)
    (folder / "card.json").write_text(json.dumps(card))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any], *, keep_sha: bool = False) -> None:
    tensors = {name: value.clone() for name, value in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    if not keep_sha:
        edit_card(folder, lambda card: card.update(weights_sha256=""))


def refusal(folder: Path) -> str:
    with pytest.raises(UnreadableModel) as caught:
        load_model(folder)
    error = caught.value
    assert error.remedy is not None and error.remedy.action == "import_again"
    assert "\n" not in error.message and "Traceback" not in error.message and len(error.message) < 500
    assert error.message.endswith("Import the model again.")
    return error.message


def test_an_untouched_model_loads(model: Path) -> None:
    assert load_model(model).info.name == model.name


def test_a_missing_tensor_is_named(model: Path) -> None:
    name = max(load_file(model / "model.safetensors"))
    edit_weights(model, lambda tensors: tensors.pop(name))
    assert f"{name} is missing" in refusal(model)


def test_a_tensor_without_a_place_is_named(model: Path) -> None:
    edit_weights(model, lambda tensors: tensors.update(surplus=torch.zeros(3)))
    assert "surplus has no place" in refusal(model)


def test_a_tensor_of_another_shape_is_named(model: Path) -> None:
    name = max(n for n, value in load_file(model / "model.safetensors").items() if value.dim() == 2)

    def widen(tensors: dict[str, torch.Tensor]) -> None:
        tensors[name] = torch.cat((tensors[name], tensors[name]))

    edit_weights(model, widen)
    assert f"{name} is [" in refusal(model)


def test_other_weights_than_the_cards_are_noticed(model: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        next(iter(tensors.values())).view(-1)[0] += 1

    edit_weights(model, change, keep_sha=True)
    assert "not those that its card was written for" in refusal(model)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_half_of_the_weights_is_noticed_with_and_without_the_cards_sha256(model: Path, share: float) -> None:
    file = model / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    assert "copied in part" in refusal(model)
    edit_card(model, lambda card: card.update(weights_sha256=""))
    assert "cannot be read" in refusal(model)


def test_missing_weights_are_named(model: Path) -> None:
    (model / "model.safetensors").unlink()
    assert "model.safetensors" in refusal(model)


def test_a_card_that_is_no_json_is_named(model: Path) -> None:
    (model / "card.json").write_text('{"kind": "pigan", ')
    assert "card" in refusal(model)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"surplus": 1}, "unknown field 'surplus'"),
        ({"kind": 3}, "kind has a int"),
        ({"constructor": []}, "constructor has a list"),
        ({"metres_per_unit": float("nan")}, "NaN"),
        ({"metres_per_unit": "two"}, "metres_per_unit has a str"),
    ],
)
def test_a_card_with_other_fields_is_named(model: Path, change: dict[str, Any], words: str) -> None:
    edit_card(model, lambda card: card.update(change))
    assert words in refusal(model)


def test_a_constructor_with_other_arguments_is_refused(model: Path) -> None:
    if model.name != "nerf":  # which takes the arguments it knows
        edit_card(model, lambda card: card["constructor"].update(surplus=1))
        refusal(model)
    edit_card(model, lambda card: card.update(constructor={"surplus": {"a": 1}}))
    refusal(model)


def numbers(constructor: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every whole number in a constructor: the dictionary that holds it, and its name."""
    found = []
    for name, value in constructor.items():
        if isinstance(value, dict):
            found += numbers(value)
        elif isinstance(value, int) and not isinstance(value, bool):
            found.append((constructor, name))
    return found


def test_a_constructor_that_asks_for_a_giant_is_refused_before_it_takes_the_memory(model: Path) -> None:
    card = json.loads((model / "card.json").read_text())
    names = [name for _, name in numbers(card["constructor"])]
    sizes = [i for i, name in enumerate(names) if re.search("dim|width|hidden|layers|channel|resolution|size", name)]
    refused = 0
    for place in sizes[:: max(1, len(sizes) // 3)]:
        changed = json.loads(json.dumps(card))
        holder, name = numbers(changed["constructor"])[place]
        holder[name] = 10**8
        (model / "card.json").write_text(json.dumps(changed))
        try:
            load_model(model)  # some numbers have no part in the weights
        except UnreadableModel as error:
            refused += 1
            assert "Import the model again" in error.message and "\n" not in error.message
    assert refused >= 1


def scalars(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path to every number in a constructor, those of lists too."""
    found = []
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, (dict, list)):
            found += scalars(value, (*path, key))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((*path, key))
    return found


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_any_number_at_zero_or_below_renders_or_is_refused(model: Path) -> None:
    torch.set_num_threads(1)
    card = json.loads((model / "card.json").read_text())
    failed = []
    for path in [*scalars(card["constructor"]), ()]:
        for value in (0, -5):
            changed = json.loads(json.dumps(card))
            holder: Any = changed["constructor"]
            for key in path[:-1]:
                holder = holder[key]
            if path:
                holder[path[-1]] = value
            else:
                changed["metres_per_unit"] = value
            (model / "card.json").write_text(json.dumps(changed))
            try:
                generator = load_model(model)
                scene = generator.synthesize(generator.mapping(generator.sample_z(0))[0])
                if not torch.isfinite(scene.render(from_wire(orbit(generator.info, 4))).rgb).all():
                    failed.append((path, value, "not finite"))
            except UnreadableModel as error:
                assert error.message.endswith("Import the model again.") and "\n" not in error.message
            except Exception as error:
                failed.append((path, value, repr(error)))
    assert not failed


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ({"elevation": [5, "x"]}, "elevation of pose_prior must be two numbers"),
        ({"azimuth": [1, -1]}, "azimuth of pose_prior must be two numbers, the smaller first"),
        ({"radius": -1}, "radius must be greater than 0"),
        ({"radius": "far"}, "radius of pose_prior is not a finite number"),
        ({"fov": 4}, "fov lie between 0 and π"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_an_edited_pose_prior_is_named(model: Path, prior: dict[str, Any], words: str) -> None:
    if model.name == "nerf":  # whose cameras are the scene's
        pytest.skip("has no pose prior in its card")
    edit_card(model, lambda card: card.update(pose_prior=prior))
    assert words in refusal(model)


def test_errors_of_pytorch_become_a_few_words() -> None:
    module = torch.nn.Linear(3, 2)
    with pytest.raises(RuntimeError) as caught:
        module.load_state_dict({"weight": torch.zeros(2, 4), "a": torch.zeros(1), "b": torch.zeros(1)})
    assert misfit(caught.value) == ("bias is missing, a has no place in it, b has no place in it and 1 more")
    with pytest.raises(RuntimeError) as caught:
        module.load_state_dict({"weight": torch.zeros(2, 4), "bias": torch.zeros(2)})
    assert misfit(caught.value) == "weight is [2, 4] instead of [2, 3]"
    assert misfit(KeyError("decoder")) == "'decoder' is missing"
    assert misfit(ValueError("one\ntwo")) == "one"
