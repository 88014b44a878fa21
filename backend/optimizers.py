"""Optimiser state as flat named tensors, as safetensors files hold them."""

from __future__ import annotations

import torch
from torch import Tensor


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str = "adam.") -> dict[str, Tensor]:
    """Return the state of an optimiser as `PREFIX<parameter index>.<name>` tensors."""
    return {
        f"{prefix}{index}.{name}": torch.as_tensor(value)
        for index, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], prefix: str = "adam.") -> None:
    """Load the state that `optimizer_tensors` returned; tensors with other prefixes are ignored."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix):
            index, key = name.removeprefix(prefix).split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
