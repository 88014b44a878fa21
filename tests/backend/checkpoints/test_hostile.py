"""No file runs code, hangs the reader or takes more than 2 GB; each is refused with the reason."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from addon.wire.errors import LatheError, UnknownCheckpoint, UnreadableFile, UnsafeCheckpoint
from backend.checkpoints import isolated
from backend.checkpoints.isolated import read_checkpoint_isolated, read_many_isolated
from backend.checkpoints.unpickle import Limits, TensorRecord, map_tensors, read_records_from
from tests.backend.checkpoints import hostile
from tests.shared import CHECKPOINTS

REFUSALS = (UnsafeCheckpoint, UnreadableFile, UnknownCheckpoint)
CANARY = Path(tempfile.gettempdir()) / f"latent_lathe_canary_{os.getpid()}"
OFFICIAL = {
    "zip": CHECKPOINTS / "von/latest_net_E.pth",
    "legacy": CHECKPOINTS / "von/latest_net_E_legacy.pth",
    "small zip": CHECKPOINTS / "deepsdf_sofas/LatentCodes/latest.pth",
    "small legacy": CHECKPOINTS / "deepsdf_sofas/LatentCodes/2000_legacy.pth",
    "npy": CHECKPOINTS / "nerf_tf1/model_200000.npy",
    "persistent pickle": CHECKPOINTS / "stylenerf_network-snapshot-000000.pkl",
    "whole module": CHECKPOINTS / "pigan/generator.pth",
}


def hostile_files() -> dict[str, bytes]:
    """Return every hostile file by its name; none may be read."""
    made: list[tuple[str, bytes]] = [
        *hostile.files_that_call(CANARY),
        *hostile.files_that_trick(CANARY),
        *hostile.files_that_swell(),
        *hostile.zips_that_lie(),
        *hostile.files_that_are_none(),
    ]
    for name, path in OFFICIAL.items():
        made.extend(hostile.truncated(path.read_bytes(), name, 8))
    files = dict(made)
    assert len(files) == len(made), "two files of one name"
    return files


@dataclass(frozen=True)
class Answers:
    """Results of one isolated child for all hostile files."""

    by_name: dict[str, Any]
    seconds: float  # of processor time
    peak_bytes: int  # of this process's largest child so far
    peak_before: int


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    import resource

    folder = tmp_path_factory.mktemp("hostile")
    files = hostile_files()
    paths = []
    for index, content in enumerate(files.values()):
        paths.append(folder / f"{index:04d}.pth")
        paths[-1].write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    results = read_many_isolated(paths, limits=Limits(seconds=500.0))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    by_name = dict(zip(files, results, strict=True))
    return Answers(by_name, seconds, after.ru_maxrss * 1024, before.ru_maxrss * 1024)


def test_there_are_many_hostile_files() -> None:
    assert len(hostile_files()) >= 400


def test_every_hostile_file_is_refused_with_a_sentence(answers: Answers) -> None:
    read = {name: answer for name, answer in answers.by_name.items() if not isinstance(answer, REFUSALS)}
    assert read == {}
    for name, answer in answers.by_name.items():
        assert len(answer.message) > 25 and answer.message.endswith((".", "again")), (name, answer.message)
        assert "Traceback" not in answer.message and len(answer.message) < 400, (name, answer.message)


def test_no_hostile_file_runs(answers: Answers) -> None:
    assert answers.by_name
    assert not CANARY.exists()


def test_hostile_files_take_little_memory_and_time(answers: Answers) -> None:
    assert answers.peak_bytes <= max(2e9, answers.peak_before)
    assert answers.seconds < 60
    assert not [name for name, answer in answers.by_name.items() if "seconds to read" in answer.message]


def test_a_refusal_names_what_the_file_tried_to_call(answers: Answers) -> None:
    for name, _ in hostile.files_that_call(CANARY):
        called = name.split(" ")[0]
        assert isinstance(answers.by_name[name], UnsafeCheckpoint), (name, answers.by_name[name])
        assert called in answers.by_name[name].message, (name, answers.by_name[name].message)


@pytest.mark.parametrize("way", [hostile.call_global, hostile.call_inst, hostile.call_obj, hostile.call_inside])
def test_the_ordinary_unpickler_does_run_these_files(tmp_path: Path, way: Any) -> None:
    """The control: the same bytes are dangerous, so the tests above can fail."""
    canary = tmp_path / "canary"
    file = tmp_path / "file.pkl"
    file.write_bytes(way("os", "system", hostile.arguments(canary, True)))
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.load(open({str(file)!r}, 'rb'))"], check=False)
    assert canary.exists()


@pytest.mark.parametrize("name", [name for name in OFFICIAL if name != "persistent pickle"])
def test_a_cut_file_is_never_read(name: str) -> None:
    data = OFFICIAL[name].read_bytes()
    for _, content in hostile.truncated(data, name, 40):
        with pytest.raises(REFUSALS):
            read_records_from(memoryview(content), "cut")


def read_fully(content: bytes) -> None:
    """Read a file and every byte of its tensors; refusals pass, anything else is a fault of the reader."""
    try:
        tree = read_records_from(memoryview(content), "mutated", Limits(opcodes=50_000, nodes=50_000))
    except REFUSALS:
        return

    def check(record: TensorRecord) -> None:
        assert len(record.to_bytes()) == record.nbytes <= 4 * len(content) + (1 << 20)

    map_tensors(tree, check)


SMALL = [OFFICIAL[name].read_bytes() for name in ("zip", "legacy", "small zip", "small legacy", "npy")] + [
    (CHECKPOINTS / "pigan/ema.pth").read_bytes()[:8000],
    hostile.torch_zip(hostile.tensor(16, shape=(4, 4), strides=(4, 1)), {"0": bytes(64)}),
    hostile.torch_legacy(hostile.tensor(16, shape=(4, 4), strides=(1, 4)), {"0": bytes(64)}),
]


@settings(max_examples=250, deadline=None)
@given(
    data=st.sampled_from(SMALL),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    near_start=st.booleans(),
)
def test_a_changed_official_file_is_read_or_refused(
    data: bytes, changes: list[tuple[float, int]], near_start: bool
) -> None:
    content = bytearray(data)
    reach = min(len(content), 2500) if near_start else len(content)
    for where, value in changes:
        content[min(len(content) - 1, int(where * reach))] = value
    read_fully(bytes(content))
    assert not CANARY.exists()


OPCODES = [
    bytes([code]) for code in b"(.012IJKLMNQRabcdeghilopqrstu})]\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94"
]
PIECES = [
    b"cos\nsystem\n",
    b"cbuiltins\neval\n",
    b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch.nn.modules.linear\nLinear\n",
    b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n",
    b"comegaconf.dictconfig\nDictConfig\n",
    b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy\ndtype\n",
    b"ctorch.storage\n_load_from_bytes\n",
    b"cbuiltins\nlist\n",
    hostile.unicode(f"__import__('pathlib').Path({str(CANARY)!r}).touch()"),
    hostile.unicode("f4"),
    b"K\x01",
    b"C\x04abcd",
    b"h\x00",
    b"q\x00",
    b"2",
]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(OPCODES + PIECES * 3), min_size=1, max_size=40))
def test_any_program_is_read_or_refused(program: list[bytes]) -> None:
    read_fully(b"\x80\x04" + b"".join(program) + b".")
    assert not CANARY.exists()


def test_random_programs_are_answered_by_an_isolated_reader_too(tmp_path: Path) -> None:
    chance = random.Random(4)
    paths = []
    for index in range(200):
        program = chance.choices(OPCODES + PIECES * 3, k=chance.randrange(2, 60))
        paths.append(tmp_path / f"{index}.pkl")
        paths[-1].write_bytes(b"\x80\x04" + b"".join(program) + b".")
    results = read_many_isolated(paths)
    assert not any(isinstance(r, LatheError) and "reader end" in r.message for r in results)
    assert not CANARY.exists()


# ---- the isolation itself


def test_an_isolated_reader_is_stopped_when_its_time_is_over(tmp_path: Path) -> None:
    file = tmp_path / "long.pkl"
    file.write_bytes(b"\x80\x02" + b"N0" * 20_000_000 + b"N.")
    started = time.perf_counter()
    with pytest.raises(UnsafeCheckpoint, match=r"longer than 1 seconds|reader end"):
        read_checkpoint_isolated(file, limits=Limits(seconds=1.0, opcodes=10**9))
    assert time.perf_counter() - started < 20


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_an_isolated_reader_cannot_take_more_than_its_memory(tmp_path: Path) -> None:
    file = tmp_path / "large.pkl"
    file.write_bytes(b"\x80\x02(" + b"}" * 6_000_000 + b"l.")
    with pytest.raises(UnsafeCheckpoint, match="memory"):
        read_checkpoint_isolated(file, limits=Limits(opcodes=10**9, memory_bytes=400 << 20))


def test_a_reader_that_dies_is_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolated, "_START", "import os; os._exit(70)")
    with pytest.raises(UnsafeCheckpoint, match="made the reader end"):
        read_checkpoint_isolated(CHECKPOINTS / "von/latest_net_E.pth")


def test_a_sparse_file_over_the_limit_is_not_opened(tmp_path: Path) -> None:
    file = tmp_path / "sparse.pth"
    with file.open("wb") as handle:
        handle.truncate(10 << 30)
    with pytest.raises(UnsafeCheckpoint, match=r"10\.7 GB; the limit is 1\.8 GB"):
        read_checkpoint_isolated(file)


@pytest.mark.parametrize(
    "attempt",
    [
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.fork()",
        "import os; os.execv('/bin/true', ['true'])",
        "import os; os.posix_spawn('/bin/true', ['true'], {})",
        "import socket; socket.socket()",
        "open(OUTSIDE, 'w')",
        "open(OUTSIDE, 'ab')",
        "import os; os.open(OUTSIDE, os.O_WRONLY | os.O_CREAT)",
        "import pathlib; pathlib.Path(OUTSIDE).touch()",
        "import os; os.remove(OUTSIDE)",
        "import os; os.rename(OUTSIDE, OUTSIDE + '2')",
        "import os; os.symlink('/', OUTSIDE)",
        "import shutil; shutil.rmtree(OUTSIDE)",
        "import ctypes; ctypes.CDLL(None)",
    ],
)
def test_the_isolated_reader_may_do_nothing_but_write_its_answer(tmp_path: Path, attempt: str) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    script = (
        f"import sys; sys.path.insert(0, {str(isolated.ROOT)!r})\n"
        "import os, subprocess, socket, shutil, pathlib, ctypes\n"
        "from backend.checkpoints.isolated import _forbid_everything_but_writing_below as forbid\n"
        f"OUTSIDE = {str(tmp_path / 'outside')!r}\n"
        f"forbid(pathlib.Path({str(inside)!r}))\n"
        f"open({str(inside / 'answer')!r}, 'w').write('ok')\n"
        f"try:\n    {attempt}\nexcept PermissionError as error:\n"
        "    sys.exit(0 if 'not allowed' in str(error) else 3)\n"
        "sys.exit(4)\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-500:]
    assert (inside / "answer").read_text() == "ok"
    assert not (tmp_path / "outside").exists()


@pytest.fixture(autouse=True, scope="module")
def _no_canary_is_left() -> Iterator[None]:
    CANARY.unlink(missing_ok=True)
    yield
    CANARY.unlink(missing_ok=True)
