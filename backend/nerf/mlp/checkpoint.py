"""Official NeRF weights -> ours: nerf-pytorch state dicts, and the original lists of Keras arrays.

    200000.tar                   {network_fn_state_dict, network_fine_state_dict, …}: yenchenlin/nerf-pytorch
    model_200000.npy             the coarse network as a list of Keras arrays: bmild/nerf
    model_fine_200000.npy        the fine one, in the same folder
    args.txt, config.txt         beside either: how it was trained, lines `name = value`

Official vocabulary ends here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from addon.wire.errors import UnknownCheckpoint
from addon.wire.messages import Bounds

from ...checkpoints.convert import CheckpointFolder, ConvertedModel, bijection, read_tree
from .network import NeRF, NetworkConfig, RenderConfig
from .scene import BLENDER_BOUNDS, constructor_of

CLASSES = ("run_nerf_helpers.",)
"""Starts of the official class names that a pickled file may hold."""

LICENCE = "of whoever trained it (official code: MIT)"
CARD = """Imported from {what}.

- {coarse} layers of {width}, L = {position} for positions and {view} for directions; trained for {steps} steps.
- Sampled as {how}: near {near:g}, far {far:g}, {samples} samples, background {background}.
- `card.json` → `constructor` holds these (`render`), the box of the scene (`bounds`) and the level of its surface
  (`iso_level`): change them there where the capture was another one.
"""

LLFF_FOCAL = 3260.0 / 4032.0, 3260.0 / 3024.0
"""Focal length over width and height of the telephone that took the paper's forward-facing captures. The weights do
not hold it, and the warp into normalised device coordinates needs it."""

LLFF_BOUNDS: Bounds = ((-4.0, -3.0, -6.0), (4.0, 3.0, -1.0))


def network_from_pytorch(weights: dict[str, Tensor]) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Return the config and our parameters of one nerf-pytorch network (its official names, without a prefix).

    The shape is read off the tensors. Raises ValueError where they are not such a network, or one is left over.
    """
    names = {"alpha_linear": "density", "feature_linear": "bottleneck", "views_linears.0": "view", "rgb_linear": "rgb"}
    depth = sum(name.startswith("pts_linears.") and name.endswith(".weight") for name in weights)
    names.update({f"pts_linears.{i}": f"trunk.{i}" for i in range(depth)})
    tensors = dict(weights)
    if "output_linear.weight" in tensors:  # without view directions: one layer gives colour and density
        for part in ("weight", "bias"):
            both = tensors.pop(f"output_linear.{part}")
            tensors[f"rgb_linear.{part}"], tensors[f"alpha_linear.{part}"] = both[:3], both[3:4]
    ours = {}
    for official, name in names.items():
        for part in ("weight", "bias"):
            tensor = tensors.pop(f"{official}.{part}", None)
            if tensor is not None:
                ours[f"{name}.{part}"] = tensor
    if tensors:
        raise ValueError(f"not a nerf-pytorch network: {sorted(tensors)[0]!r} has no place in it")
    return _config(ours, depth), ours


def network_from_keras(arrays: Sequence[Tensor]) -> tuple[NetworkConfig, dict[str, Tensor]]:
    """Return the config and our parameters of one original network: kernel [in, out] and bias of each layer, in Keras'
    order: trunk, bottleneck, view, rgb, and the density last. Raises ValueError where they are not such a network."""
    if len(arrays) < 10 or len(arrays) % 2:
        raise ValueError(f"the original NeRF has at least 5 layers of 2 arrays each, got {len(arrays)} arrays")
    if arrays[-1].shape[0] >= 4:  # without view directions: the last layer gives colour and density
        *arrays, kernel, bias = arrays
        arrays = [*arrays, kernel[:, :3], bias[:3], kernel[:, 3:4], bias[3:4]]
        depth = len(arrays) // 2 - 2
        names = [*(f"trunk.{i}" for i in range(depth)), "rgb", "density"]
    else:
        depth = len(arrays) // 2 - 4
        names = [*(f"trunk.{i}" for i in range(depth)), "bottleneck", "view", "rgb", "density"]
    ours = {}
    for name, kernel, bias in zip(names, arrays[::2], arrays[1::2], strict=True):
        ours[f"{name}.weight"], ours[f"{name}.bias"] = kernel.T.contiguous(), bias
    return _config(ours, depth), ours


def _config(ours: dict[str, Tensor], depth: int) -> NetworkConfig:
    try:
        width, encoded = ours["trunk.0.weight"].shape
        skips = tuple(i - 1 for i in range(1, depth) if ours[f"trunk.{i}.weight"].shape[1] == width + encoded)
        view_dependent = "view.weight" in ours
        bottleneck = ours["bottleneck.weight"].shape[0] if view_dependent else width
        view_width = ours["view.weight"].shape[0] if view_dependent else width
        view_encoded = ours["view.weight"].shape[1] - bottleneck if view_dependent else 3
    except (KeyError, ValueError) as error:
        raise ValueError(f"not a NeRF network: {error} is missing") from error
    return NetworkConfig(
        depth=depth,
        width=width,
        bottleneck=bottleneck,
        view_width=view_width,
        skips=skips,
        position_frequencies=(encoded - 3) // 6,
        view_frequencies=(view_encoded - 3) // 6,
        view_dependent=view_dependent,
    )


def from_pytorch(tree: dict[str, object]) -> tuple[tuple[NetworkConfig, dict[str, Tensor]], ...]:
    """Return (coarse, fine) of a nerf-pytorch `.tar`, as `checkpoints.read_checkpoint` read it. Without a fine network,
    the coarse one is both. Raises ValueError where it is not such a file."""
    coarse = tree.get("network_fn_state_dict")
    fine = tree.get("network_fine_state_dict") or coarse
    if not isinstance(coarse, dict) or not isinstance(fine, dict):
        raise ValueError("not a nerf-pytorch checkpoint: it holds no network_fn_state_dict")
    return network_from_pytorch(coarse), network_from_pytorch(fine)


def recognise(tree: object) -> bool:
    """Return whether the tree is a nerf-pytorch file, one original list of arrays, or a folder with them."""
    if isinstance(tree, CheckpointFolder):
        return bool(tree.matching("model_*.npy") or tree.matching("*/model_*.npy")) and _is_keras(
            tree[_newest_pair(tree)[0]]
        )
    if isinstance(tree, Mapping):
        network = tree.get("network_fn_state_dict")
        return isinstance(network, Mapping) and "pts_linears.0.weight" in network
    return _is_keras(tree)


def convert(tree: object, path: Path) -> ConvertedModel:
    """Convert the networks of a nerf-pytorch file or of an original folder to one stored scene.

    The sampling is read from the `args.txt` or `config.txt` beside it; without one, it is that of the paper's Blender
    captures: near 2, far 6, white background.

    Raises:
        UnknownCheckpoint: not such networks, or half of a pair that does not fit together.
    """
    folder, steps, what = path.parent, _digits(path.stem), "a nerf-pytorch checkpoint"
    sources: tuple[Path, ...] = ()
    if isinstance(tree, CheckpointFolder):
        coarse_name, fine_name = _newest_pair(tree)
        folder, steps = (tree.root / coarse_name).parent, _digits(coarse_name)
        networks = tuple(network_from_keras(_arrays(tree[name], name)) for name in (coarse_name, fine_name))
    elif isinstance(tree, Mapping):
        networks = from_pytorch(dict(tree))
        steps = str(tree.get("global_step", steps))
    else:
        coarse, fine = _pair_of(path)
        sources = () if coarse == fine else (coarse, fine)
        networks = tuple(network_from_keras(_arrays(_tree_of(one, path, tree), one.name)) for one in (coarse, fine))
    if not isinstance(tree, Mapping) or isinstance(tree, CheckpointFolder):
        what = "original NeRF weights"
    (coarse_config, coarse_tensors), (fine_config, fine_tensors) = networks
    options = options_beside(folder)
    render, bounds, how = _render_config(options)
    with torch.device("meta"):
        parameters = NeRF(coarse_config, fine_config, render).state_dict()
    official = {f"coarse.{name}": tensor for name, tensor in coarse_tensors.items()}
    official |= {f"fine.{name}": tensor for name, tensor in fine_tensors.items()}
    return ConvertedModel(
        kind="nerf",
        constructor=constructor_of(coarse_config, fine_config, render, bounds),
        tensors=bijection(official, parameters),
        licence=LICENCE,
        non_commercial=False,
        label=options.get("expname", "") or f"NeRF {path.stem}",
        description=f"A scene fitted with vanilla NeRF ({how})",
        card=CARD.format(
            what=what,
            coarse=coarse_config.depth,
            width=coarse_config.width,
            position=coarse_config.position_frequencies,
            view=coarse_config.view_frequencies,
            steps=steps or "an unknown number of",
            how=how,
            near=render.near,
            far=render.far,
            samples=f"{render.coarse_samples} + {render.fine_samples}",
            background="white" if render.white_background else "black",
        ),
        sources=sources,
    )


def _is_keras(tree: object) -> bool:
    if not isinstance(tree, (list, tuple)) or len(tree) < 10 or len(tree) % 2:
        return False
    shapes = [tuple(one.shape) if isinstance(one, Tensor) else () for one in tree]
    if any(len(kernel) != 2 or bias != kernel[1:] for kernel, bias in zip(shapes[::2], shapes[1::2])):
        return False
    density, rgb = shapes[-1], shapes[-3]
    return (density == (1,) and rgb == (3,)) or density in ((4,), (5,))


def _arrays(tree: object, name: str) -> list[Tensor]:
    if not _is_keras(tree):
        raise UnknownCheckpoint(f"{name} is not a list of the layers of a NeRF network, kernel and bias of each.")
    assert isinstance(tree, (list, tuple))
    return list(tree)


def _newest_pair(folder: CheckpointFolder) -> tuple[str, str]:
    """Return the names of the newest coarse network and its fine one (the coarse again where there is none)."""
    names = [*folder.matching("model_*.npy"), *folder.matching("*/model_*.npy")]
    coarse = [name for name in names if not Path(name).name.startswith("model_fine")] or names
    fine = str(Path(coarse[0]).with_name(Path(coarse[0]).name.replace("model_", "model_fine_", 1)).as_posix())
    return coarse[0], fine if fine in names else coarse[0]


def _pair_of(path: Path) -> tuple[Path, Path]:
    """Return the coarse and the fine file of which `path` is one; it is both where the other is missing."""
    plain = path.with_name(path.name.replace("model_fine_", "model_", 1))
    fine = path.with_name(plain.name.replace("model_", "model_fine_", 1))
    return (plain if plain.is_file() else path), (fine if fine.is_file() else path)


def _tree_of(file: Path, read: Path, tree: object) -> object:
    return tree if file == read else read_tree(file)


def _digits(name: str) -> str:
    return str(int("".join(re.findall(r"\d+", Path(name).stem))[:18] or 0) or "")


def options_beside(folder: Path) -> dict[str, str]:
    """Return the options in args.txt and config.txt of the folder, name → value as written; empty without them."""
    found: dict[str, str] = {}
    for name in ("config.txt", "args.txt"):  # args.txt holds every option, also those left at their default
        file = folder / name
        if file.is_file() and not file.is_symlink() and file.stat().st_size < 1 << 20:
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
                key, equals, value = line.partition("=")
                if equals:
                    found[key.strip()] = value.strip()
    return found


def _render_config(options: Mapping[str, str]) -> tuple[RenderConfig, Bounds, str]:
    """Return the sampling of the options, the box that holds the scene, and a name for the kind of capture."""

    def whole(name: str, default: int) -> int:
        text = options.get(name, "")
        return min(int(text), 1024) if text.isdigit() else default

    def yes(name: str) -> bool:
        return options.get(name, "False").lower() in ("true", "1")

    samples = whole("N_samples", 64), whole("N_importance", 128)
    disparity, white = yes("lindisp"), yes("white_bkgd")
    kind = options.get("dataset_type", "blender")
    if kind == "llff" and not yes("no_ndc"):
        render = RenderConfig(0.0, 1.0, *samples, white_background=white, ndc=True, ndc_focal=LLFF_FOCAL)
        return render, LLFF_BOUNDS, "a forward-facing capture in normalised device coordinates"
    if not options:
        return RenderConfig(2.0, 6.0, *samples), BLENDER_BOUNDS, "a Blender capture of the paper"
    render = RenderConfig(2.0, 6.0, *samples, in_disparity=disparity, white_background=white)
    return render, BLENDER_BOUNDS, "a Blender capture of the paper"
