"""Read pickled checkpoints without running any of their code.

A pickle is a program for a small stack machine, and the ordinary machine lets that program call any function. This one
does not: a file may build only what is written down in `tables`: `CONSTRUCTORS` (our own functions from plain data to
plain data, under the official names) and `CLASSES` (classes whose objects become an inert `Opaque`), and in the
`CLASSES` of each model's checkpoint.py. Anything else that a file tries to call or to name is refused, with its name.
No class or function named in a file is ever imported.

    file ─ containers ─> pickle streams and storages ─ machine (tables) ─> records ─ tree ─> plain data

Containers: what torch.save writes (zip since 1.6, and the legacy stream before), plain pickles (with the persistent
classes of StyleGAN and its heirs, whose embedded source is dropped unread, and omegaconf), numpy's .npy with objects.

A *record* is a tensor that is described but not read yet: `TensorRecord` (dtype, shape, strides, offset) over a
`Storage` (bytes of the file). Sizes are checked against the bytes that are there before anything is allocated. Reading
needs no torch, so that a child process with tight limits can do it (`isolated`).
"""

from .records import (
    BF16,
    BOOL,
    F16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    DType,
    Limits,
    Opaque,
    Storage,
    TensorRecord,
    map_tensors,
)
from .tree import read_checkpoint, read_records, read_records_from

__all__ = [
    "BF16",
    "BOOL",
    "F16",
    "F32",
    "F64",
    "I8",
    "I16",
    "I32",
    "I64",
    "U8",
    "U16",
    "U32",
    "U64",
    "DType",
    "Limits",
    "Opaque",
    "Storage",
    "TensorRecord",
    "map_tensors",
    "read_checkpoint",
    "read_records",
    "read_records_from",
]
