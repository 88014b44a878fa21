"""Commands that find a shape or a texture: complete, image-to-shape, fit-shape, transfer-texture."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from addon.wire import payload
from addon.wire.errors import CannotWrite, InvalidRequest, UnreadableFile
from addon.wire.messages import (
    CompleteRequest,
    FitShapeRequest,
    ImageToShapeRequest,
    Latent,
    MeshBlob,
    MeshRequest,
    RenderRequest,
    ScanBlob,
    SceneRef,
    TransferTextureRequest,
)

from ..progress import part
from .arguments import (
    Device,
    ImageFile,
    MeshOut,
    Model,
    check_mesh_name,
    model_name,
    seed_option,
    workspace,
    write_mesh,
)
from .console import Json, answer, complain, expected_errors, progress_bar
from .options import options_from

resolution_option = options_from(MeshRequest, "surface", ["resolution"])


def add_to(cli: typer.Typer) -> None:
    """Add the commands to the command line."""
    cli.command()(complete)
    cli.command("image-to-shape")(image_to_shape)
    cli.command("fit-shape")(fit_shape)
    cli.command("transfer-texture")(transfer_texture)


@options_from(CompleteRequest, "search")
@resolution_option
def complete(
    model: Model,
    scan: Annotated[
        Path,
        typer.Argument(metavar="SCAN", help="A mesh or points (.ply, .obj, .glb), or a depth image (.npy, .png)."),
    ],
    out: MeshOut,
    search: dict[str, Any],
    surface: dict[str, Any],
    camera: Annotated[Path | None, typer.Option(help="Of a depth image: camera_path.json or transforms.json.")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the latent whose shape fits a partial scan, and mesh it.

    The scan is in metres, placed as the model; Z is up in PLY and STL, Y in OBJ and GLB. A depth image is float32
    [H, W] metres along the camera's z, or millimetres as 16-bit PNG; 0 or inf where nothing was measured. The space in
    front of its points counts as empty.
    """
    from ..tasks.complete import complete as complete_task
    from ..tasks.mesh import mesh as make_mesh

    check_mesh_name(out)
    shared = workspace(device)
    name = model_name(shared, model)
    with progress_bar() as report, expected_errors():
        blob = shared.blobs.put(payload.pack(read_scan(scan, camera)))
        found = complete_task(CompleteRequest(name, blob, **search), part(report, 0.0, 0.7), shared)
        request = MeshRequest(SceneRef(name, Latent(code=found.code)), **surface)
        files = write_mesh(make_mesh(request, part(report, 0.7, 0.95), shared), out)
    for note in found.notes:
        complain(note)
    answer(
        as_json,
        {
            "files": files, "error": found.error, "code": found.code, "notes": list(found.notes),
            "seconds": round(found.seconds, 3),
        },
    )  # fmt: skip


@resolution_option
def image_to_shape(
    model: Model,
    image: ImageFile,
    out: MeshOut,
    surface: dict[str, Any],
    voxels: Annotated[Path | None, typer.Option(help="Also write the voxels: .npy, float32 0..1, [z, y, x].")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the shape of the object in an image, and mesh it."""
    from ..tasks.image_to_shape import image_to_shape as encode
    from ..tasks.image_to_shape import read_file, write_voxels
    from ..tasks.mesh import mesh as make_mesh

    check_mesh_name(out)
    shared = workspace(device)
    name = model_name(shared, model)
    with progress_bar() as report, expected_errors():
        blob = shared.blobs.put(read_file(image))
        found = encode(ImageToShapeRequest(name, blob), part(report, 0.0, 0.4), shared)
        for note in found.notes:
            complain(note)
        scene = SceneRef(name, Latent(code=found.code))
        files = write_mesh(make_mesh(MeshRequest(scene, **surface), part(report, 0.4, 0.95), shared), out)
        if voxels is not None:
            files.append(write_voxels(shared.scene(scene), voxels))
    answer(
        as_json,
        {"files": files, "code": found.code, "notes": list(found.notes), "seconds": round(found.seconds, 3)},
    )


@options_from(FitShapeRequest, "training")
def fit_shape(
    source: Annotated[Path, typer.Argument(metavar="MESH", help="A mesh: .obj, .ply, .glb or .stl.")],
    name: Annotated[str, typer.Option(help="Name of the new model.")],
    training: dict[str, Any],
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Train a signed distance network on one mesh, and store it as a model."""
    from meshing import read_mesh

    from ..tasks.fit_shape import fit_shape as fit_task

    shared = workspace(device)
    with progress_bar() as report, expected_errors():
        read = read_mesh(source)
        blob = shared.blobs.put(payload.pack(MeshBlob(read.mesh.vertices, read.mesh.faces, read.offset)))
        result = fit_task(FitShapeRequest(name, blob, **training), report, shared)
    notes = [*read.notes, *result.notes]
    for note in notes:
        complain(note)
    fields: dict[str, Any] = {"model": result.name, "notes": notes, "seconds": round(result.seconds, 3)}
    answer(as_json, fields | ({"offset": list(read.offset)} if any(read.offset) else {}))


@seed_option
def transfer_texture(
    model: Annotated[str, typer.Argument(help="Name of a model, or its folder.", metavar="MODEL")],
    image: ImageFile,
    out: Annotated[Path, typer.Option(help="A .png file for a render of the shape with its new texture.")],
    latent: dict[str, Any],
    yaw: Annotated[float, typer.Option(help="Azimuth from the model's default view, degrees.")] = 0.0,
    size: Annotated[int, typer.Option(min=0, max=8192, help="Pixels of the image's side; 0 is the model's own.")] = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Give a shape the texture of the object in an image, and render it."""
    from PIL import Image

    from ..cameras import orbit
    from ..tasks.image_to_shape import read_file
    from ..tasks.render import image8, render
    from ..tasks.transfer_texture import transfer_texture as transfer

    if out.suffix.lower() != ".png":
        raise InvalidRequest(f"--out must end in .png, got {out.name!r}.")
    shared = workspace(device)
    name = model_name(shared, model)
    with progress_bar() as report, expected_errors():
        blob = shared.blobs.put(read_file(image))
        found = transfer(TransferTextureRequest(name, Latent(**latent), blob), part(report, 0.0, 0.4), shared)
        info = shared.generator(name).info
        azimuth = info.pose_prior.default_azimuth + math.radians(yaw)
        camera = orbit(info, size or info.image_size, azimuth=azimuth)
        request = RenderRequest(SceneRef(name, Latent(code=found.code)), camera)
        result = render(request, part(report, 0.4, 1.0), shared)
        try:
            Image.fromarray(image8(result.rgba)).save(out, format="PNG")
        except OSError as error:
            raise CannotWrite(f"{out} cannot be written: {error.strerror or error}.") from error
    for note in (*found.notes, result.note):
        if note:
            complain(note)
    answer(as_json, {"files": [str(out)], "code": found.code, "seconds": round(found.seconds, 3)})


def read_scan(path: Path, camera: Path | None) -> ScanBlob:
    """Return a partial scan: the points of a mesh or point file, or those of a depth image and its camera.

    Raises:
        UnreadableFile, CannotRead, UnknownFormat: another kind of file, a damaged one, a depth image whose size is not
            its camera's, or an empty one.
        InvalidRequest: a depth image without a camera.
    """
    import numpy as np

    if path.suffix.lower() not in (".npy", ".png", ".tif", ".tiff", ".exr"):
        from meshing import read_points

        return ScanBlob(np.ascontiguousarray(read_points(path), np.float32))
    if camera is None:
        raise InvalidRequest("A depth image needs --camera: the camera_path.json or transforms.json of its camera.")
    import torch

    from ..camera_path import read_camera_path
    from ..cameras import from_wire, points_of_depth
    from ..nerf.datasets.images import read_depth

    view = from_wire(read_camera_path(camera)[0])
    depth = read_depth(path, scale=1.0 if path.suffix.lower() == ".npy" else 1e-3)
    if depth.shape != (view.height, view.width):
        raise UnreadableFile(f"The depth image is {list(depth.shape)}, its camera {[view.height, view.width]} pixels.")
    seen, origins = points_of_depth(torch.from_numpy(depth), view)
    return ScanBlob(seen.numpy(), None, origins.numpy())
