"""Which of our modules stands for which official system.

Each module offers `outputs(set: OracleSet) -> dict[str, Tensor]` (output name → our value) and may offer
`NOT_REPRODUCED: dict[str, str]` (output name → why not), and `network(set) -> Module`, which `outputs(set, network)`
then takes in place of that of the set's weights.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from tests.parity.oracle import OracleSet

MODULES: dict[str, str] = {
    "facebookresearch/DeepSDF": "deepsdf",
    "stevliu/editnerf": "editnerf",
    "stevliu/editnerf: editing": "editnerf_edit",
    "NVlabs/eg3d": "eg3d",
    "NVlabs/eg3d: training": "eg3d_training",
    "danielroich/PTI": "pti",
    "3D-GAN (Wu et al. 2016)": "gan3d",
    "autonomousvision/graf": "graf",
    "autonomousvision/graf: training": "graf_training",
    "thunguyenphuoc/HoloGAN": "hologan",
    "yenchenlin/nerf-pytorch": "nerf",
    "bmild/nerf": "nerf",
    "marcoamonteiro/pi-GAN": "pigan",
    "marcoamonteiro/pi-GAN: inversion": "pigan_inversion",
    "marcoamonteiro/pi-GAN: training": "pigan_training",
    "XingangPan/ShadeGAN": "shadegan",
    "facebookresearch/StyleNeRF": "stylenerf",
    "facebookresearch/StyleNeRF: training": "stylenerf_training",
    "royorel/StyleSDF": "stylesdf",
    "royorel/StyleSDF: training": "stylesdf_training",
    "junyanz/VON": "von",
}


@dataclass(frozen=True)
class System:
    """Our side of one official system."""

    outputs: Callable[..., dict[str, Tensor]]
    not_reproduced: Mapping[str, str] = field(default_factory=dict)
    network: Callable[[OracleSet], nn.Module] | None = None


def is_implemented(official: str) -> bool:
    """Say whether this project has a module for the official system."""
    name = MODULES.get(official)
    return name is not None and importlib.util.find_spec(f"{__name__}.{name}") is not None


def load_system(official: str) -> System:
    """Import our side of the official system.

    Raises:
        LookupError: there is none.
    """
    if not is_implemented(official):
        known = ", ".join(sorted(name for name in MODULES if is_implemented(name))) or "none"
        raise LookupError(f"No implementation of {official!r}; there is one of: {known}.")
    module = importlib.import_module(f"{__name__}.{MODULES[official]}")
    return System(module.outputs, getattr(module, "NOT_REPRODUCED", {}), getattr(module, "network", None))
