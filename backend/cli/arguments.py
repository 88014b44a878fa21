"""Arguments that several commands share: models, latents, devices, image sizes, angles, mesh files."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from addon.wire.errors import InvalidRequest, UnknownModel
from addon.wire.messages import Latent, MeshResult, SceneRef

from .options import Command, options_from

if TYPE_CHECKING:
    from ..tasks.workspace import Workspace

Model = Annotated[str, typer.Argument(help="Name of a model, its folder, or a scene file.", metavar="MODEL")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; the fastest one if left out.")]
ControlOption = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="Value of one of the model's controls; repeatable.")
]
ImageFile = Annotated[
    Path, typer.Argument(metavar="IMAGE", help="An image of one object; its alpha, if any, is the mask.")
]
MeshOut = Annotated[Path, typer.Option(help="Mesh file that ends in .obj, .ply or .glb.")]

latent_options: Callable[[Command], Command] = options_from(
    Latent,
    "latent",
    names={"seed_a": "seed", "seed_b": "seed2", "truncation_psi": "truncation", "code_b": "code2"},
    defaults={"seed_b": None},
)
"""Decorator: the parameter `latent` of a command becomes the options of a latent."""

seed_option: Callable[[Command], Command] = options_from(Latent, "latent", ["seed_a"], names={"seed_a": "seed"})
"""Decorator: the parameter `latent` of a command becomes --seed."""


def workspace(device: str | None = None) -> Workspace:
    """Return the shared state of one command. Raises NotSupported: PyTorch cannot use this device."""
    from ..tasks.workspace import Workspace

    return Workspace(device)


def model_name(shared: Workspace, model: str) -> str:
    """Return the name of a model that is given by its name, its folder, or a scene file.

    Raises:
        UnknownModel: it looks like a path, and there is no model.
    """
    path = Path(model)
    if path.name != model and not ((path / "card.json").is_file() or is_scene_file(path)):
        from ..models.store import find_models

        raise UnknownModel(f"There is no such folder or model: {model}. Models here: {', '.join(find_models())}.")
    return shared.add_folder(path) if (path / "card.json").is_file() or is_scene_file(path) else model


def is_scene_file(path: Path) -> bool:
    """Return whether a path is a file that can be a scene written by `fit`."""
    return path.suffix.lower() == ".safetensors" and path.is_file()


def scene_ref(shared: Workspace, model: str, latent: dict[str, Any], controls: list[str] | None = None) -> SceneRef:
    """Return the scene of a model with the values of `latent_options` and controls.

    Raises:
        InvalidRequest: mixing without a second seed, or a control that is not NAME=NUMBER.
        UnknownModel: see `model_name`.
    """
    second = latent["seed_b"] is not None or latent["code_b"]
    if not second and (latent["mix_geometry"] or latent["mix_appearance"]):
        raise InvalidRequest("--mix-geometry and --mix-appearance need --seed2 or --code2, the latent to mix with.")
    name = model_name(shared, model)
    values = {}
    for entry in controls or []:
        key, _, value = entry.partition("=")
        try:
            values[key] = float(value)
        except ValueError:
            raise InvalidRequest(f"--control takes NAME=NUMBER, got {entry!r}") from None
    return SceneRef(name, Latent(**{**latent, "seed_b": latent["seed_b"] or 0}), values)


def image_size(size: int | None, default: int) -> int:
    """Return the side of an image in pixels. Raises InvalidRequest."""
    if size is not None and not 1 <= size <= 8192:
        raise InvalidRequest(f"--size must be between 1 and 8192 pixels, got {size}")
    return default if size is None else size


def angle(option: str, degrees: float) -> float:
    """Return radians. Raises InvalidRequest, naming the option."""
    if not math.isfinite(degrees):
        raise InvalidRequest(f"{option} must be a finite number of degrees, got {degrees:g}")
    return math.radians(degrees)


def field_of_view(degrees: float) -> float:
    """Return radians. Raises InvalidRequest."""
    if not 0.1 <= degrees <= 175.0:
        raise InvalidRequest(f"--fov must be between 0.1 and 175 degrees, got {degrees:g}")
    return math.radians(degrees)


def check_mesh_name(out: Path) -> None:
    """Check that a mesh can be written to a file of this name. Raises InvalidRequest."""
    if out.suffix.lower() not in (".obj", ".ply", ".glb"):
        raise InvalidRequest(f"--out must end in .obj, .ply or .glb, got {out.name!r}.")


def write_mesh(result: MeshResult, out: Path) -> list[str]:
    """Write a mesh and return the files that were made."""
    from meshing.io import export_mesh
    from meshing.mesh import Mesh

    made = Mesh(result.vertices, result.faces, result.normals, result.colors, result.uvs, result.texture)
    return [str(file) for file in export_mesh(made, out)]
