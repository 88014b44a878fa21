"""Read foreign checkpoints in a child process with limits of memory, time and rights.

`unpickle` alone runs no code of a file. This is the second barrier: a fault of its reader would be confined to a
process with limited memory and time that may start nothing, connect to nothing and write to one folder alone. The child
returns two files: a safetensors file with the tensors, and the rest of the tree as JSON.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from addon.wire.errors import LatheError, UnreadableFile, UnsafeCheckpoint, error_from_dict, error_to_dict

from ..files import READER_FOLDER, temporary_folder
from .tensorflow import bundle_prefix, read_bundle_records
from .unpickle import Limits, Opaque, TensorRecord, map_tensors, read_records

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
MAX_TREE_BYTES = 256 << 20
_START = "import sys; sys.path.insert(0, sys.argv[1]); from backend.checkpoints.isolated import _child; _child()"


def read_checkpoint_isolated(path: Path, *, limits: Limits | None = None) -> Any:
    """Read a foreign file in a child process: a tree of dict, list, tuple, set, text, numbers, `Tensor` and `Opaque`.

    path: a torch file, pickle or .npy, or any of the files of a TensorFlow checkpoint (or their common prefix).

    Raises:
        UnreadableFile: missing, empty, damaged or half downloaded.
        UnsafeCheckpoint: it tries to run code, lies about its sizes, or takes too much memory or time.
        UnknownCheckpoint: an unknown container.
    """
    (result,) = read_many_isolated([path], limits=limits)
    if isinstance(result, LatheError):
        raise result
    return result


def read_many_isolated(paths: Iterable[Path], *, limits: Limits | None = None) -> list[Any]:
    """Read several foreign files in one child process; a refused file gives its error in place of a tree.

    The limits hold for all of them together. Where the child ends before its work, the files it had not finished get
    an UnsafeCheckpoint.
    """
    limits = limits or Limits()
    paths = [Path(path).absolute() for path in paths]
    with temporary_folder(Path(tempfile.gettempdir()), READER_FOLDER) as folder:
        why = _run_child(paths, folder, limits)
        return [_collect(folder, index, path, why) for index, path in enumerate(paths)]


def _run_child(paths: list[Path], folder: Path, limits: Limits) -> str:
    """Run the child; return the reason why it ended early, or ""."""
    work = {"paths": [str(path) for path in paths], "folder": str(folder), "limits": asdict(limits)}
    kept = ("PATH", "SYSTEMROOT", "SYSTEMDRIVE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMP", "TEMP", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment.update(OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _START, str(ROOT)],
            input=json.dumps(work).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=limits.seconds,
            env=environment,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it took longer than {limits.seconds:g} seconds to read"
    if done.returncode != 0:
        log.warning(
            "checkpoint reader ended with %s: %s", done.returncode, done.stderr[-2000:].decode(errors="replace")
        )
        return "reading it made the reader end (too much memory, or a broken file)"
    return ""


def _collect(folder: Path, index: int, path: Path, why: str) -> Any:
    answer = folder / f"{index}.json"
    if not answer.is_file():
        return UnsafeCheckpoint(f"{path.name} is refused: {why or 'the reader gave no answer'}.")
    if answer.stat().st_size > MAX_TREE_BYTES:
        return UnsafeCheckpoint(
            f"{path.name} is refused: it holds more than {MAX_TREE_BYTES >> 20} MiB besides tensors."
        )
    data = json.loads(answer.read_text(encoding="utf-8"))
    if "error" in data:
        return error_from_dict(data["error"])
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / f"{index}.safetensors")
    except SafetensorError as error:
        return UnsafeCheckpoint(f"{path.name} is refused: it declares tensors that cannot be ({error}).")
    if os.name == "nt":  # tensors are views of the mapped file, which Windows could then not delete
        tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    return _decode(data["tree"], tensors)


# ---- the child


def _child() -> None:
    """Entry of the child process: read the work from stdin, take the limits, read each file."""
    import numpy  # noqa: F401  (before the limits: a strided tensor needs it)

    work = json.load(sys.stdin)
    folder = Path(work["folder"])
    limits = Limits(**{**work["limits"], "allowed_classes": tuple(work["limits"]["allowed_classes"])})
    paths = [Path(path) for path in work["paths"]]
    largest = max((path.stat().st_size for path in paths if path.is_file()), default=0)
    _limit_resources(limits, largest)
    _forbid_everything_but_writing_below(folder)
    for index, path in enumerate(paths):
        try:
            tree = _read(path, limits)
            _write(tree, folder, index)
        except LatheError as error:
            _answer(folder, index, {"error": error_to_dict(error)})
        except MemoryError:
            refused = UnsafeCheckpoint(f"{path.name} is refused: it takes too much memory to read.")
            _answer(folder, index, {"error": error_to_dict(refused)})
        except OSError as error:
            unread = UnreadableFile(f"{path} cannot be read: {error.strerror or error}.")
            _answer(folder, index, {"error": error_to_dict(unread)})
        except (ValueError, TypeError, ArithmeticError, LookupError) as error:  # of this file, not of the others
            unread = UnreadableFile(f"{path.name} is damaged: {error}. Download it again.")
            _answer(folder, index, {"error": error_to_dict(unread)})


def _read(path: Path, limits: Limits) -> Any:
    prefix = bundle_prefix(path)
    return read_records(path, limits) if prefix is None else read_bundle_records(prefix, limits)


def _limit_resources(limits: Limits, mapped_bytes: int) -> None:
    address_space = max(limits.memory_bytes, mapped_bytes + limits.memory_bytes // 3)
    if os.name == "nt":
        _limit_windows_job(address_space)
        return
    import resource

    seconds = int(limits.seconds) + 1
    file_bytes = limits.tensor_bytes_per_file_byte * mapped_bytes + MAX_TREE_BYTES
    for name, value in (
        ("RLIMIT_AS", address_space),
        ("RLIMIT_CPU", seconds),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", file_bytes),
    ):
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (ValueError, OSError) as error:  # macOS does not limit address space; the reader's own budget stays
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201  (the parent logs it)


def _limit_windows_job(memory_bytes: int) -> None:
    """Put this process into a Windows job object with a memory limit (JOB_OBJECT_LIMIT_PROCESS_MEMORY)."""
    import ctypes
    from ctypes import wintypes

    class Limit(ctypes.Structure):  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
        _fields_ = [
            ("times", ctypes.c_int64 * 2),
            ("flags", wintypes.DWORD),
            ("working_set", ctypes.c_size_t * 2),
            ("active_processes", wintypes.DWORD),
            ("affinity", ctypes.c_size_t),
            ("priority", wintypes.DWORD * 2),
            ("io", ctypes.c_uint64 * 6),
            ("process_memory", ctypes.c_size_t),
            ("job_memory", ctypes.c_size_t),
            ("peaks", ctypes.c_size_t * 2),
        ]

    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    kernel.CreateJobObjectW.restype = kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.SetInformationJobObject.argtypes = [wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD]
    kernel.AssignProcessToJobObject.argtypes = [wintypes.HANDLE, wintypes.HANDLE]
    limit = Limit(flags=0x100 | 0x8, active_processes=1, process_memory=memory_bytes)
    job = kernel.CreateJobObjectW(None, None)
    kernel.SetInformationJobObject(job, 9, ctypes.byref(limit), ctypes.sizeof(limit))
    kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())


_FORBIDDEN = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.startfile", "socket.")
_FORBIDDEN_CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.kill",
                      "os.truncate", "os.mkdir", "shutil.", "ctypes.", "code.__new__", "sys.addaudithook")  # fmt: skip


def _forbid_everything_but_writing_below(folder: Path) -> None:
    """Refuse, from now on, to start processes, connect, load libraries, or write anywhere but in `folder`."""
    allowed = str(folder) + os.sep

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith(_FORBIDDEN) or event.startswith(_FORBIDDEN_CHANGES):
            raise PermissionError(f"{event} is not allowed here")
        if event == "open":
            path, mode, flags = (*args, None, None)[:3]
            writes = (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (
                isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            )
            if writes and not str(path).startswith(allowed):
                raise PermissionError("writing is not allowed here")

    sys.addaudithook(hook)


def _write(tree: Any, folder: Path, index: int) -> None:
    records: list[TensorRecord] = []

    def number(record: TensorRecord) -> _Reference:
        records.append(record)
        return _Reference(str(len(records) - 1))

    encoded = _encode(map_tensors(tree, number))
    header: dict[str, Any] = {}
    end = 0
    for position, record in enumerate(records):
        header[str(position)] = {
            "dtype": record.dtype.code,
            "shape": list(record.shape),
            "data_offsets": [end, end + record.nbytes],
        }
        end += record.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / f"{index}.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for record in records:
            file.write(record.to_bytes())
    _answer(folder, index, {"tree": encoded})


def _answer(folder: Path, index: int, data: dict[str, Any]) -> None:
    text = json.dumps(data)
    (folder / f"{index}.json").write_text(text, encoding="utf-8")


# ---- the tree as JSON: what JSON has stays itself; the rest is {"tag": …}


class _Reference(str):
    """The name of a tensor in the safetensors file."""

    __slots__ = ()


def _encode(node: Any) -> Any:
    if isinstance(node, _Reference):
        return {"tensor": str(node)}
    if node is None or isinstance(node, (bool, int, float, str)):
        return node
    if isinstance(node, list):
        return [_encode(item) for item in node]
    if isinstance(node, tuple):
        return {"tuple": [_encode(item) for item in node]}
    if isinstance(node, set):
        return {"set": [_encode(item) for item in sorted(node, key=repr)]}
    if isinstance(node, dict):
        return {"dict": [[_encode(key), _encode(value)] for key, value in node.items()]}
    if isinstance(node, bytes):
        return {"bytes": base64.b64encode(node).decode()}
    if isinstance(node, Opaque):
        return {"object": [node.module, node.name, _encode(node.state)]}
    raise UnsafeCheckpoint(f"The checkpoint is refused: it holds a {type(node).__name__}.")


def _decode(node: Any, tensors: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_decode(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    ((tag, content),) = node.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "tuple":
        return tuple(_decode(item, tensors) for item in content)
    if tag == "set":
        return {_decode(item, tensors) for item in content}
    if tag == "dict":
        return {_decode(key, tensors): _decode(value, tensors) for key, value in content}
    if tag == "bytes":
        return base64.b64decode(content)
    module, name, state = content
    return Opaque(module, name, (), _decode(state, tensors))
