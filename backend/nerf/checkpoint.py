"""Official NeRF weights -> ours: nerf-pytorch state dicts, and the original lists of Keras arrays."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .published import NetworkConfig


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
