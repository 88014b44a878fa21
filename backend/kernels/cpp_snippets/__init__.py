"""C++ of the fast kernels: `.inl` files beside their engines, compiled by the compiler inside the Warp wheel.

Everything works on a *tile* of samples, nearly all of it stored structure-of-arrays, [channel][sample], so that a loop
over the samples of a tile is a few vector instructions, and a matrix product keeps its sums in registers. Sizes are
constants when the code is compiled, which is what makes it fast: each kernel is one file that names its constants in
capitals, with a preamble of `#define` lines from `snippet`. The files of this folder are pieces that kernels include
several times, each time after defining the piece's parameters; a piece undefines them at its end.

Warp caches a compiled kernel by the text of its code. `snippet` therefore returns all of it, with the included files in
place: after an edit of any of them the kernels that use it are compiled again.
"""

from __future__ import annotations

import re
from pathlib import Path

import torch

__all__ = ["FOLDER", "TILE", "snippet"]

TILE = 32 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 16
"""Samples of a tile on a processor: two AVX-512 or AVX2 registers, four NEON ones, so that the sums of a matrix product
(4 x TILE) are enough to keep the units busy. On CUDA a tile is one thread's one sample."""

FOLDER = Path(__file__).parent.parent
"""Paths of snippets and of their `#include` lines are relative to this folder, backend/kernels."""

_INCLUDE = re.compile(r'^[ \t]*#include "([^"]+)"[ \t]*$', re.MULTILINE)


def snippet(name: str, *, folder: Path = FOLDER, **constants: int | float | str) -> str:
    """Return the body of a C++ function: the file `name` with its includes in place, after `#define` lines.

    Args:
        name: path of the file in `folder`, such as "radiance_mlp/forward.inl".
        constants: the preamble, such as TILE=16; a float becomes a C++ float. The names are undefined again behind the
            code, so that several snippets may stand in one source file.

    Raises:
        FileNotFoundError: the file or one that it includes does not exist.
    """
    defines = "".join(f"#define {key} {_literal(value)}\n" for key, value in constants.items())
    undefines = "".join(f"#undef {key}\n" for key in constants)
    return f"\n{defines}{_expanded(folder, name)}\n{undefines}"


def included_files(name: str, *, folder: Path = FOLDER) -> set[str]:
    """Return the names of a snippet's file and of all files that it includes."""
    found = {name}
    for inner in _INCLUDE.findall((folder / name).read_text(encoding="utf-8")):
        found |= included_files(inner, folder=folder)
    return found


def _expanded(folder: Path, name: str) -> str:
    text = (folder / name).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _expanded(folder, found[1]), text)


def _literal(value: int | float | str) -> str:
    return f"{value!r}f" if isinstance(value, float) else str(value)
