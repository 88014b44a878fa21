"""State of the sparse Adam optimiser, and the size of a group of entries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = 8
"""Entries that share a flag."""


@dataclass(frozen=True)
class AdamState:
    """gradient, mean, square like the table [entries, features]; touched uint8 [entries / GROUP]."""

    gradient: Tensor
    mean: Tensor
    square: Tensor
    touched: Tensor

    @staticmethod
    def zeros(table: Tensor) -> AdamState:
        """Return the state before the first step. Raises ValueError where entries are not a multiple of GROUP."""
        if len(table) % GROUP:
            raise ValueError(f"the table must have a multiple of {GROUP} entries, got {len(table)}")
        touched = torch.zeros(len(table) // GROUP, dtype=torch.uint8, device=table.device)
        return AdamState(torch.zeros_like(table), torch.zeros_like(table), torch.zeros_like(table), touched)
