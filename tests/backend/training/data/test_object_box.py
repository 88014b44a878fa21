"""The box of a training set's objects, from their silhouettes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backend.training.data.object_box import CELLS, object_box
from backend.training.data.training_images import TrainingImages

from ..coloured_balls import coloured_balls

FIRST = coloured_balls(64, 32, opacity=True)


def _balls(objects: int) -> TrainingImages:
    """Images of objects at one place, each seen as balls of radii from 0.3 to 0.5: their hulls are the smallest."""
    return replace(FIRST, objects=torch.arange(64) % objects)


def test_the_box_holds_the_objects_and_is_not_much_larger() -> None:
    box = object_box(_balls(4))
    assert box is not None
    smallest = [0.3 + 0.3, 0.3 + 0.3, 0.1 + 0.3]  # around (0.3, -0.3, 0.1)
    for side, least in zip(box, smallest, strict=True):
        assert least <= side <= least + 0.2 + 4 / CELLS
    assert box[2] < box[0]


@pytest.mark.parametrize("lost", ["alpha", "objects", "world_from_camera"])
def test_without_silhouettes_of_known_objects_there_is_no_box(lost: str) -> None:
    assert object_box(replace(_balls(4), **{lost: None})) is None
    assert object_box(_balls(64)) is None  # one view of each
