"""Official files are recognised by their content; errors name what does not fit."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from addon.wire.errors import UnknownCheckpoint, UnreadableFile, UnsafeCheckpoint
from backend.checkpoints import convert
from backend.checkpoints.convert import (
    CheckpointFolder,
    ConvertedModel,
    Opaque,
    bijection,
    describe,
    detect,
    import_model,
    read_tree,
    source_sha256,
    state_dict,
    unwrapped,
)
from backend.generators import checkpoint_reader, importable_kinds
from backend.models.allocation import allocation_limit
from backend.models.card import ModelCard, read_card
from backend.models.scene_file import write_safetensors
from backend.models.store import read_tensors, save_model
from tests.backend.checkpoints import hostile
from tests.shared import CHECKPOINTS, ORACLES

# what a user would choose → its kind
OFFICIAL = {
    "eg3d_network-snapshot-000000.pkl": "eg3d",
    "stylenerf_network-snapshot-000000.pkl": "stylenerf",
    "stylesdf_full_model.pt": "stylesdf",
    "shadegan_generator.pth": "shadegan",
    "pigan": "pigan",
    "pigan/generator.pth": "pigan",
    "pigan/ema.pth": "pigan",
    "graf_model.pt": "graf",
    "graf_model_legacy.pt": "graf",
    "deepsdf_sofas": "deepsdf",
    "deepsdf_sofas/specs.json": "deepsdf",
    "deepsdf_sofas/ModelParameters/latest.pth": "deepsdf",
    "deepsdf_sofas/ModelParameters/2000.pth": "deepsdf",
    "deepsdf_sofas/ModelParameters/2000_legacy.pth": "deepsdf",
    "deepsdf_sofas/LatentCodes/latest.pth": "deepsdf",
    "deepsdf_sofas/LatentCodes/2000.pth": "deepsdf",
    "deepsdf_sofas/LatentCodes/2000_legacy.pth": "deepsdf",
    "gan3d_G.pth": "gan3d",
    "von": "von",
    "hologan_ckpt": "hologan",
    "hologan_ckpt/celebA_64_64": "hologan",
    "hologan_ckpt/celebA_64_64/HoloGAN.model-1000.index": "hologan",
    "editnerf_1000000.tar": "editnerf",
    "editnerf_1000000_legacy.tar": "editnerf",
    "nerf_200000.tar": "nerf",
    "nerf_200000_legacy.tar": "nerf",
    "nerf_tf1": "nerf",
    "nerf_tf1/model_200000.npy": "nerf",
    "nerf_tf1/model_fine_200000.npy": "nerf",
}
PARTS = {
    "deepsdf_sofas/specs.json": "holds no ModelParameters",
    "deepsdf_sofas/ModelParameters/latest.pth": "Choose the experiment's folder",
    "deepsdf_sofas/LatentCodes/2000_legacy.pth": "Choose the experiment's folder",
    "pigan/ema.pth": "put generator.pth beside it",
}
"""File that is not enough without the files beside it → words of the error."""


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_file_is_recognised_by_one_kind_alone(name: str) -> None:
    tree = read_tree(CHECKPOINTS / name)
    recognised = [kind for kind in importable_kinds() if checkpoint_reader(kind).recognise(tree)]
    assert recognised == [OFFICIAL[name]]
    assert detect(CHECKPOINTS / name) == OFFICIAL[name]


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_file_becomes_a_model_folder(tmp_path: Path, name: str) -> None:
    card = import_model(CHECKPOINTS / name, tmp_path / "model")
    assert read_card(tmp_path / "model") == card
    assert (card.kind, card.source) == (OFFICIAL[name], "imported")
    assert card.licence and len(card.source_sha256) == 64
    assert sorted(p.name for p in (tmp_path / "model").iterdir()) == ["card.json", "model.safetensors"]


@pytest.mark.parametrize("name", PARTS)
def test_a_part_of_a_checkpoint_says_what_else_it_needs(tmp_path: Path, name: str) -> None:
    alone = tmp_path / Path(name).name
    shutil.copy(CHECKPOINTS / name, alone)
    with pytest.raises(UnknownCheckpoint, match=PARTS[name]):
        import_model(alone, tmp_path / "model")


def test_a_file_stands_for_what_lies_beside_it(tmp_path: Path) -> None:
    def of(name: str) -> str:
        return import_model(CHECKPOINTS / name, tmp_path / name).source_sha256

    assert of("pigan/generator.pth") == of("pigan/ema.pth")
    assert of("deepsdf_sofas/specs.json") == of("deepsdf_sofas/LatentCodes/latest.pth")
    assert of("deepsdf_sofas/LatentCodes/2000.pth") != of("deepsdf_sofas/LatentCodes/latest.pth")


ODD = [
    None,
    3,
    "text",
    [],
    (),
    {},
    set(),
    torch.zeros(2),
    Opaque("siren.siren", "TALLSIREN"),
    Opaque("generators.generators", "ImplicitGenerator3d", (), {"_modules": None}),
    Opaque("torch_utils.persistence", "TriPlaneGenerator", (), {"_init_kwargs": 3}),
    Opaque("torch_utils.persistence", "Generator", (), {"_modules": [1, 2]}),
    *({name: value}
      for name in ("G_ema", "g_ema", "generator", "generator_test", "model_state_dict", "network_fn_state_dict")
      for value in (None, 3, [], {}, {"a": 1}, torch.zeros(1), Opaque("training.networks", "Generator"))),
    {("a", 1): 2},
    {3: torch.zeros(2)},
]  # fmt: skip


@pytest.mark.parametrize("kind", importable_kinds())
def test_odd_trees_are_recognised_by_no_kind_and_break_nothing(kind: str) -> None:
    reader = checkpoint_reader(kind)
    for tree in ODD:
        assert reader.recognise(tree) in (True, False), tree


# ---- the machinery, with a kind made up here


def a_kind(**changes: Any) -> SimpleNamespace:
    def recognise(tree: object) -> bool:
        return isinstance(tree, dict) and "toy" in tree

    def convert_toy(tree: Any, path: Path) -> ConvertedModel:
        tensors = bijection(tree["toy"], {"weight": torch.zeros(2, 3)}, rename={"w": "weight"})
        return ConvertedModel("toy", {"width": 3}, tensors, "MIT", False, pose_prior={"fov": 0.5}, metres_per_unit=2.0)

    return SimpleNamespace(recognise=recognise, convert=convert_toy, **changes)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "importable_kinds", lambda: ("toy",))
    monkeypatch.setattr(convert, "checkpoint_reader", lambda kind: a_kind())
    monkeypatch.setattr(convert, "generator_of", lambda *_: None)


def save(path: Path, tree: object) -> Path:
    torch.save(tree, path)
    return path


def test_a_model_folder_says_where_it_came_from(tmp_path: Path, toy: None) -> None:
    file = save(tmp_path / "official.pth", {"toy": {"w": torch.ones(2, 3)}})
    card = import_model(file, tmp_path / "model", label="Mine")
    assert (card.kind, card.label, card.licence, card.non_commercial) == ("toy", "Mine", "MIT", False)
    assert card.source_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (card.constructor, card.pose_prior, card.metres_per_unit) == ({"width": 3}, {"fov": 0.5}, 2.0)


def test_an_unknown_architecture_is_described_and_the_known_ones_are_named(tmp_path: Path, toy: None) -> None:
    file = save(tmp_path / "other.pth", {"encoder": {"w": torch.zeros(7, 5)}, "step": 3})
    with pytest.raises(UnknownCheckpoint) as caught:
        import_model(file, tmp_path / "model")
    for part in ("other.pth", "encoder", "step", "encoder.w [7, 5]", "Known: toy"):
        assert part in caught.value.message
    assert caught.value.remedy is not None and caught.value.remedy.action == "choose_kind"
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "ema_model."])
def test_prefixes_of_wrappers_are_taken_off_for_every_kind(prefix: str) -> None:
    weights = {"lin0.weight": torch.ones(2, 2), "lin0.bias": torch.zeros(2)}
    wrapped = {f"{prefix}{name}": value for name, value in weights.items()}
    tree = unwrapped({"epoch": 3, "models": [wrapped], "codes": {"weight": torch.ones(3)}})
    assert tree["models"][0] == weights and tree["epoch"] == 3 and set(tree["codes"]) == {"weight"}
    whole = Opaque("torch.nn.parallel", "DataParallel", (), {"_modules": {"module": saved_module(weights)}})
    assert state_dict(whole) == weights
    partly = {"module.a": torch.ones(1), "b": torch.ones(1)}  # a part of the model is called module
    assert unwrapped(partly) == partly


def test_averages_of_weights_are_taken_and_their_counters_left() -> None:
    weights = {"a.weight": torch.ones(2), "a.bias": torch.zeros(2)}
    averaged = {"n_averaged": torch.tensor(7), **{f"module.{name}": value for name, value in weights.items()}}
    assert unwrapped(averaged) == weights  # torch.optim.swa_utils.AveragedModel
    online = {f"online_model.{name}": value + 1 for name, value in weights.items()}
    ema = {f"ema_model.{name}": value for name, value in weights.items()}
    assert unwrapped({**online, **ema, "step": torch.tensor(9), "initted": torch.tensor(True)}) == weights


def saved_module(weights: dict[str, torch.Tensor]) -> Opaque:
    """A module that was saved whole, with one layer `lin0`, as the reader gives it."""
    layer = {name.partition(".")[2]: value for name, value in weights.items()}
    modules = {"lin0": Opaque("torch.nn.modules.linear", "Linear", (), {"_parameters": layer})}
    return Opaque("networks", "Decoder", (), {"_modules": modules})


def test_tensors_that_share_memory_are_stored_each(tmp_path: Path) -> None:
    base = torch.arange(6.0)
    tensors = {"a": base, "b": base, "c": base[2:4], "d": base.reshape(2, 3).T}
    save_model(tmp_path / "m", ModelCard("toy", "", "", "", False, {}), tensors)
    write_safetensors(tmp_path / "m.safetensors", tensors, {})
    for file in (tmp_path / "m/model.safetensors", tmp_path / "m.safetensors"):
        found = read_tensors(file, "cpu")
        assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_a_sentence_shows_control_characters_of_names_and_has_an_end(tmp_path: Path) -> None:
    with (tmp_path / "keys.pkl").open("wb") as file:
        pickle.dump({"\x1b]0;owned\x07\x1b[2J\nFAKE": 1, "n" * 100_000: 2}, file)
    with pytest.raises(UnknownCheckpoint) as caught:
        import_model(tmp_path / "keys.pkl", tmp_path / "m")
    assert "\\x1b]0;owned\\x07" in caught.value.message and caught.value.message.isprintable()
    assert len(caught.value.message) < 3000


def test_a_kind_that_does_not_exist_is_named(tmp_path: Path, toy: None) -> None:
    with pytest.raises(UnknownCheckpoint, match=r"no kind 'nope'. Known: toy"):
        import_model(save(tmp_path / "x.pth", {}), tmp_path / "model", "nope")


def test_a_forced_kind_that_does_not_fit_says_so(tmp_path: Path, toy: None) -> None:
    file = save(tmp_path / "x.pth", {"something": torch.zeros(1)})
    with pytest.raises(UnknownCheckpoint, match=r"not a toy checkpoint as its authors write it \('toy' is missing\)"):
        import_model(file, tmp_path / "model", "toy")


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"w": torch.zeros(3, 2)}, r"w is \[3, 2\] instead of \[2, 3\]"),
        ({"w": torch.zeros(1, 3)}, r"w is \[1, 3\] instead of \[2, 3\]"),
        ({"w": torch.zeros(2, 3), "extra": torch.zeros(4)}, r"extra \[4\] has no place"),
        ({}, r"weight \[2, 3\] is missing"),
        ({"w": torch.zeros(2, 3), "weight": torch.zeros(2, 3)}, "weight is a second value for weight"),
    ],
)
def test_tensors_that_are_no_bijection_are_named(
    tmp_path: Path, toy: None, tensors: dict[str, torch.Tensor], sentence: str
) -> None:
    with pytest.raises(UnknownCheckpoint, match=sentence):
        import_model(save(tmp_path / "x.pth", {"toy": tensors}), tmp_path / "model")


def test_ignored_tensors_are_named_by_pattern_and_nothing_else_is_dropped() -> None:
    official = {"a.w": torch.ones(2), "a.filter": torch.ones(4), "b.filter": torch.ones(4)}
    ignored = {"*.filter": "the constructor makes it"}
    filled = bijection(official, {"a.w": torch.zeros(2)}, ignored=ignored)
    assert filled.keys() == {"a.w"} and torch.equal(filled["a.w"], torch.ones(2))
    with pytest.raises(UnknownCheckpoint, match=r"b\.filter"):
        bijection(official, {"a.w": torch.zeros(2)}, ignored={"a.filter": "the constructor makes it"})


def test_weights_take_the_type_of_the_parameter() -> None:
    filled = bijection({"w": torch.ones(2, dtype=torch.float16)}, {"w": torch.zeros(2, device="meta")})
    assert filled["w"].dtype == torch.float32


def test_a_model_folder_is_not_imported_again(tmp_path: Path, toy: None) -> None:
    import_model(save(tmp_path / "official.pth", {"toy": {"w": torch.ones(2, 3)}}), tmp_path / "model")
    with pytest.raises(UnknownCheckpoint, match="a model folder of this project already"):
        import_model(tmp_path / "model", tmp_path / "again")


def test_a_half_downloaded_file_is_said_to_be_so(tmp_path: Path) -> None:
    data = (CHECKPOINTS / "eg3d_network-snapshot-000000.pkl").read_bytes()
    file = tmp_path / "half.pkl"
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnreadableFile, match=r"damaged: it ends in the middle. Download it again") as caught:
        import_model(file, tmp_path / "model")
    assert caught.value.remedy is not None and caught.value.remedy.action == "download_again"


# ---- constructor arguments that ask for too much


def replace_numbers(node: Any, key: str, value: int) -> None:
    """Put `value` wherever a dictionary in the tree has a number under `key`."""
    if isinstance(node, Opaque):
        replace_numbers(node.state, key, value)
    elif isinstance(node, dict):
        for name, inner in node.items():
            if name == key and isinstance(inner, int):
                node[name] = value
            else:
                replace_numbers(inner, key, value)
    elif isinstance(node, (list, tuple)):
        for inner in node:
            replace_numbers(inner, key, value)


SIZES = ("z_dim", "w_dim", "num_layers", "n_blocks")


@pytest.mark.parametrize("key", SIZES)
@pytest.mark.parametrize("name", [n for n in OFFICIAL if OFFICIAL[n] in ("eg3d", "stylenerf")])
def test_a_file_cannot_ask_for_a_giant_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str
) -> None:
    tree = read_tree(CHECKPOINTS / name)
    replace_numbers(tree, key, 10**7)
    monkeypatch.setattr(convert, "read_tree", lambda path: tree)
    started = time.perf_counter()
    with contextlib.suppress(UnsafeCheckpoint, UnknownCheckpoint):  # or the number has no part in the model
        import_model(CHECKPOINTS / name, tmp_path / "model")
    assert time.perf_counter() - started < 60


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.nn.Linear(10**5, 10**5),
        lambda: torch.zeros(10**9),
        lambda: torch.arange(10**10),
        lambda: torch.linspace(0, 1, 10**10),
        lambda: [torch.nn.Linear(64, 64) for _ in range(10**9)],
        lambda: [torch.empty(0) for _ in range(10**9)],
        lambda: torch.zeros(2**62),
        lambda: [0] * 10**17,
    ],
)
def test_the_limit_of_allocation_holds_before_the_memory_is_taken(make: Any) -> None:
    with pytest.raises(UnsafeCheckpoint, match="many times larger"), allocation_limit(64 << 20, "file"):
        make()


def test_an_ordinary_model_stays_within_the_limit() -> None:
    with allocation_limit(1 << 20, "file"):
        module = torch.nn.Linear(64, 64)
        assert module(torch.zeros(2, 64)).shape == (2, 64)


# ---- folders


def test_a_folder_reads_its_files_when_asked_and_follows_no_links(tmp_path: Path) -> None:
    save(tmp_path / "a.pth", {"a": 1})
    (tmp_path / "specs.json").write_text('{"b": 2}')
    (tmp_path / "notes.txt").write_text("not a checkpoint")
    (tmp_path / "evil.pkl").write_bytes(
        hostile.call_global("os", "system", hostile.arguments(tmp_path / "canary", True))
    )
    (tmp_path / "link.pth").symlink_to("/etc/passwd")
    (tmp_path / "linked").symlink_to("/etc")
    folder = CheckpointFolder(tmp_path)
    assert sorted(folder) == ["a.pth", "evil.pkl", "specs.json"]
    assert sorted(folder.links) == ["link.pth", "linked"]
    assert folder["a.pth"] == {"a": 1} and folder["specs.json"] == {"b": 2}
    with pytest.raises(UnsafeCheckpoint, match=r"os\.system"):
        folder["evil.pkl"]
    for name in ("link.pth", "../outside.pth", "notes.txt"):
        with pytest.raises(KeyError):
            folder[name]
    assert not (tmp_path / "canary").exists()


def test_the_newest_file_comes_first() -> None:
    folder = CheckpointFolder(CHECKPOINTS / "deepsdf_sofas")
    assert folder.matching("ModelParameters/*.pth")[0] == "ModelParameters/latest.pth"
    assert describe(folder).startswith("a folder of ")


def test_a_folder_without_checkpoints_and_one_of_too_many_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnknownCheckpoint, match="holds no checkpoint file"):
        read_tree(tmp_path)
    for index in range(convert.MAX_FOLDER_FILES + 1):
        (tmp_path / f"{index}.txt").touch()
    with pytest.raises(UnknownCheckpoint, match="more than 2000 files"):
        read_tree(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("name", ["a.index", "a.pth", "specs.json"])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UnreadableFile, match="not a file"):
        read_tree(tmp_path / name)


def test_json_that_is_none_is_named(tmp_path: Path) -> None:
    file = tmp_path / "specs.json"
    for content in ('{"a": ', "[" * 100_000):
        file.write_text(content)
        with pytest.raises(UnreadableFile, match="cannot be read as JSON"):
            read_tree(file)


def test_the_source_of_several_files_has_one_sha256(tmp_path: Path) -> None:
    bundle = CHECKPOINTS / "hologan_ckpt/celebA_64_64/HoloGAN.model-1000"
    one = source_sha256(bundle.with_name(bundle.name + ".index"))
    assert one == source_sha256(bundle) == source_sha256(bundle.with_name(bundle.name + ".data-00000-of-00001"))
    save(tmp_path / "a.pth", 1)
    before = source_sha256(tmp_path)
    save(tmp_path / "b.pth", 2)
    assert source_sha256(tmp_path) != before


def test_every_kind_of_the_oracles_is_listed() -> None:
    systems = {json.loads(path.read_text())["system"] for path in ORACLES.glob("*.json")}
    assert len(systems) == 13 and len(importable_kinds()) == 12  # both NeRFs are one kind
    assert set(OFFICIAL.values()) == set(importable_kinds())


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({}, "an empty dictionary"),
        (torch.zeros(2, 3), "one tensor [2, 3]"),
        ([1, 2], "a list of 2"),
        (3, "a int"),
        (Opaque("siren.siren", "TALLSIREN", (), {"w": torch.zeros(4)}), "class siren.siren.TALLSIREN; biggest"),
    ],
)
def test_a_tree_is_described_in_words(tree: object, words: str) -> None:
    assert words in describe(tree)
