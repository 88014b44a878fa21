"""Official DeepSDF experiment folders → our model.

    specs.json                   NetworkSpecs, CodeLength, ClampingDistance
    ModelParameters/latest.pth   {epoch, model_state_dict}: `module.lin0.weight_v`, …
    LatentCodes/latest.pth       {epoch, latent_codes}: the state dict {weight} of an embedding, in older files a tensor

Official vocabulary ends here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from addon.wire.errors import UnknownCheckpoint

from ...checkpoints.convert import CheckpointFolder, ConvertedModel, bijection
from .model import DecoderSpec
from .scene import DeepSDF, constructor_of

MAX_LATENT_DIRECTIONS = 256
MAX_CLAMP = 10.0

CLASSES = ("networks.",)
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "MIT (DeepSDF); data of its own terms"
CARD = """Imported from an official DeepSDF experiment folder.

{description}

- Code: facebookresearch/DeepSDF, MIT. Weights trained on ShapeNet are also under ShapeNet's terms (research use).
- Epoch {epoch}; {num_codes} codes of {latent_size}; distances truncated at {clamp:g}.
- ShapeNet has no unit of length: 1 canonical unit is taken as 1 metre.
- New shapes are drawn from a Gaussian fitted to the codes.
"""

SPEC_NAMES = {
    "dims": tuple,
    "dropout": tuple,
    "norm_layers": tuple,
    "latent_in": tuple,
    "dropout_prob": float,
    "weight_norm": bool,
    "xyz_in_all": bool,
    "use_tanh": bool,
    "latent_dropout": bool,
}
"""Names in NetworkSpecs and their types; null and missing ones are the official default, the type's empty value."""


def recognise(tree: object) -> bool:
    """Return whether the tree is an experiment folder, or one of its files: specs, parameters or codes."""
    if not isinstance(tree, Mapping):
        return False
    if "specs.json" in tree:
        return any(str(name).startswith("ModelParameters/") for name in tree)
    if tree.get("NetworkArch") == "deep_sdf_decoder" or {"epoch", "latent_codes"} == tree.keys():
        return True
    state = tree.get("model_state_dict")
    return isinstance(state, Mapping) and any(str(name).endswith("lin0.bias") for name in state)


def convert(tree: object, path: Path) -> ConvertedModel:
    """The newest snapshot of an experiment folder as our model; of a file in such a folder, its own snapshot.

    Raises:
        UnknownCheckpoint: a part of the folder is missing, or the parts do not belong together.
    """
    snapshot, root = "latest", path
    if not isinstance(tree, Mapping) or "specs.json" not in tree:
        root = path.parent if path.name == "specs.json" else path.parent.parent
        if not (root / "specs.json").is_file() or path.is_symlink():
            raise UnknownCheckpoint(
                f"{path.name} is one file of a DeepSDF experiment. Choose the experiment's folder, the one with "
                "specs.json."
            )
        tree, snapshot = CheckpointFolder(root), path.stem
    specs = tree["specs.json"]
    if not isinstance(specs, Mapping) or specs.get("NetworkArch") != "deep_sdf_decoder":
        raise UnknownCheckpoint(f"The specs.json of {path.name} is not one of DeepSDF's decoder.")
    spec = decoder_spec(specs["NetworkSpecs"], int(specs["CodeLength"]))
    names = [_snapshot(tree, folder, snapshot) for folder in ("ModelParameters", "LatentCodes")]
    parameters, coded = (_dictionary(tree, name) for name in names)
    codes = latent_codes(coded, spec.latent_size)
    rank = min(max(len(codes) - 1, 0), spec.latent_size, MAX_LATENT_DIRECTIONS)
    clamp = specs.get("ClampingDistance", 0.1)
    if isinstance(clamp, bool) or not isinstance(clamp, int | float) or not 0 < clamp < MAX_CLAMP:
        raise UnknownCheckpoint(
            f"ClampingDistance in specs.json is {str(clamp)[:40]}: it must be more than 0 and less than {MAX_CLAMP:g}."
        )
    model = DeepSDF(spec, num_codes=len(codes), rank=rank, clamp=float(clamp))
    model.decoder.load_state_dict(decoder_tensors(parameters["model_state_dict"], model))
    model.codes.copy_(codes)
    model.fit_gaussian()
    model.lipschitz = model.measured_slope()
    description = specs.get("Description", "")
    description = " ".join(map(str, description)) if isinstance(description, list) else str(description)
    return ConvertedModel(
        kind="deepsdf",
        constructor=constructor_of(model),
        tensors=model.state_dict(),
        licence=LICENCE,
        non_commercial=False,
        label=f"DeepSDF {root.name}",
        description=description.strip(),
        card=CARD.format(
            description=description.strip(),
            epoch=parameters.get("epoch", "unknown"),
            num_codes=len(codes),
            latent_size=spec.latent_size,
            clamp=model.clamp,
        ),
        sources=() if root == path else tuple(root / name for name in ("specs.json", *names)),
    )


def decoder_spec(network: Mapping[str, Any], latent_size: int) -> DecoderSpec:
    """Return our spec of the constructor arguments of the official `Decoder`.

    Raises:
        UnknownCheckpoint: an argument that the official decoder does not have.
    """
    unknown = sorted(set(network) - set(SPEC_NAMES) - {"latent_size"})
    if unknown:
        raise UnknownCheckpoint(f"NetworkSpecs holds {unknown[0]!r}, which the official decoder does not have.")
    if "dims" not in network:
        raise UnknownCheckpoint("NetworkSpecs holds no dims: the widths of the layers are not known.")
    given = {name: make(network.get(name) or make()) for name, make in SPEC_NAMES.items()}
    return DecoderSpec(latent_size=latent_size, **given)


def decoder_tensors(state: Mapping[str, Tensor], model: DeepSDF) -> dict[str, Tensor]:
    """The official state dict under our names."""

    def ours(name: str) -> str:
        # torch's newer weight_norm writes these two
        return name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        )

    return bijection(state, model.decoder.state_dict(), rename=ours)


def latent_codes(tree: Mapping[str, Any], latent_size: int) -> Tensor:
    """The codes of a LatentCodes file, new or old. [num_codes, latent_size]"""
    codes = tree["latent_codes"]
    if isinstance(codes, Mapping):
        if set(codes) != {"weight"}:
            raise UnknownCheckpoint(f"LatentCodes holds {sorted(codes)}, expected one tensor named weight.")
        codes = codes["weight"]
    if not isinstance(codes, Tensor) or codes.shape[-1] != latent_size or codes.numel() == 0:
        shape = list(codes.shape) if isinstance(codes, Tensor) else type(codes).__name__
        raise UnknownCheckpoint(f"LatentCodes must be [num_codes, {latent_size}] as specs.json says, got {shape}.")
    if not torch.isfinite(codes).all():
        raise UnknownCheckpoint("LatentCodes holds values that are not finite: that training diverged.")
    return codes.reshape(-1, latent_size).float()  # old files: [num_codes, 1, latent_size]


def _snapshot(tree: Mapping[str, Any], folder: str, wanted: str) -> str:
    """The name of the file of this stem in the folder, or else of the newest one."""
    names = [name for name in tree if name.startswith(f"{folder}/")]

    def age(name: str) -> tuple[bool, bool, int, str]:
        stem = Path(name).stem
        return (stem != wanted, stem != "latest", -int(stem) if stem.isdigit() else 0, stem)

    if not names:
        raise UnknownCheckpoint(f"The experiment folder holds no {folder}.")
    return min(names, key=age)


def _dictionary(tree: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = tree[name]
    if not isinstance(found, Mapping):
        raise UnknownCheckpoint(f"{name} holds a {type(found).__name__}, expected a dictionary.")
    return found
