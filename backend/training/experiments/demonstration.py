"""What the demonstrations share: a row of pictures with words under them, PSNR, a training that can be continued."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image as Picture
from PIL import ImageDraw, ImageFont
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ...models.store import write_atomically


def labelled_row(panels: Mapping[str, Tensor], side: int, caption: int = 22) -> Picture.Image:
    """Return images [H, W, 3] in 0..1 side by side, each `side` pixels high with its name under it."""
    pictures = []
    for image in panels.values():
        pixels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).numpy()
        width = round(side * pixels.shape[1] / pixels.shape[0])
        pictures.append(Picture.fromarray(pixels).resize((width, side), Picture.Resampling.NEAREST))
    gap = 6
    page = Picture.new("RGB", (sum(p.width for p in pictures) + gap * (len(pictures) - 1), side + caption), "white")
    draw, font, left = ImageDraw.Draw(page), ImageFont.load_default(14), 0
    for name, one in zip(panels, pictures):
        page.paste(one, (left, 0))
        draw.text((left + one.width / 2, side + caption / 2), name, "black", font, anchor="mm")
        left += one.width + gap
    return page


def store(
    path: Path, config: Mapping[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Write a training so that `resumed` goes on exactly where it was, in one atomic step."""
    tensors = {f"network.{name}": value.clone() for name, value in network.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value).clone() for name, value in state.items()}
    write_atomically(path, save(tensors, metadata={"config": json.dumps(config), "step": str(step)}))


def resumed(path: Path | None, config: Mapping[str, Any], network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Fill network and optimizer from what `store` wrote and return its step; 0 where there is no such file.

    Raises:
        ValueError: the file belongs to another configuration.
    """
    if path is None or not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
        wanted = json.loads(json.dumps(config))
        changed = [key for key, value in wanted.items() if json.loads(metadata["config"]).get(key) != value]
        if changed:
            raise ValueError(f"{path} belongs to other options ({', '.join(changed)}): give an empty folder")
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("adam."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return int(metadata["step"])
