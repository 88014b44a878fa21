"""The command line. Sentences rather than tracebacks, a progress bar on stderr, `--json` for programs."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from addon.wire import payload
from addon.wire.errors import CannotWrite, InvalidRequest, LatheError, NotSupported, UnreadableFile, error_to_dict
from addon.wire.messages import (
    Camera,
    CompleteRequest,
    FitShapeRequest,
    ImageToShapeRequest,
    Latent,
    MeshBlob,
    MeshRequest,
    MeshResult,
    RenderRequest,
    ScanBlob,
    SceneRef,
)

from . import VERSION, folders
from . import bench as benches
from .cli import (
    Device,
    Json,
    answer,
    complain,
    expected_errors,
    fields,
    model_name,
    progress_bar,
    show,
    textures,
    views,
    workspace,
    write_json,
)
from .generators import recipes
from .progress import part

if TYPE_CHECKING:
    from .tasks.workspace import Workspace

cli = typer.Typer(
    name="python -m backend",
    help=f"Latent Lathe {VERSION}: 3D-aware generators and radiance fields; images, animations and meshes.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

fields.add_to(cli)
views.add_to(cli)
textures.add_to(cli)

Model = Annotated[str, typer.Argument(help="Name of a model, its folder, or a scene file.", metavar="MODEL")]
Seed = Annotated[int, typer.Option(help="Seed of the latent.")]
Seed2 = Annotated[int | None, typer.Option(help="Seed of a second latent to mix with.")]
MixGeometry = Annotated[float, typer.Option(help="0: geometry of the first latent, 1: of the second.")]
MixAppearance = Annotated[float, typer.Option(help="0: appearance of the first latent, 1: of the second.")]
Truncation = Annotated[float, typer.Option(help="Truncation ψ: 1 is the whole variety, 0 the average.")]
Code = Annotated[str, typer.Option(metavar="ID", help="In place of the seed: the code that a command printed.")]
ControlOption = Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A control of the model.")]
Yaw = Annotated[float, typer.Option(help="Degrees round the model, from its usual view.")]
Pitch = Annotated[float, typer.Option(help="Degrees above the model's usual view.")]
Roll = Annotated[float, typer.Option(help="Degrees about the line of sight.")]
Fov = Annotated[float | None, typer.Option(help="Vertical field of view in degrees; the model's own if left out.")]
PathFile = Annotated[Path | None, typer.Option(help="camera_path.json or transforms.json; writes one image a frame.")]
Size = Annotated[int | None, typer.Option(help="Pixels of the longer side; the model's own if left out.")]
Samples = Annotated[int, typer.Option(help="Samples on each ray; 0 is the model's own number.")]
ImageOut = Annotated[Path, typer.Option(help="A .png file, or a folder with --camera-path.")]


class MeshColor(StrEnum):
    """How a mesh is coloured."""

    none = "none"
    vertex = "vertex"
    texture = "texture"


class ShapePreset(StrEnum):
    """The network that learns one mesh."""

    small = "small"
    official = "official"


@cli.callback()
def root(
    data: Annotated[Path | None, typer.Option(help="Folder for models, jobs, uploads and logs.")] = None,
) -> None:
    if data is not None:
        os.environ["LATENT_LATHE_DATA"] = str(data.resolve())


@cli.command()
def serve(
    stay: Annotated[bool, typer.Option(help="Keep serving when the parent process or stdin ends.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 lets the system choose.")] = 0,
    parent: Annotated[int | None, typer.Option(help="Process whose end ends this one too.")] = None,
    device: Device = None,
) -> None:
    """Serve on 127.0.0.1 for the add-on: one line with port and token on stdout, the log on stderr."""
    from .service.serve import serve as run_service

    run_service(folders.data_folder(), device=device, port=port, stay=stay, parent=parent)


@cli.command()
def models(as_json: Json = False) -> None:
    """List the models that are here, and what is wrong with those that cannot be used."""
    found = workspace().models()
    if as_json:
        write_json(json.loads(payload.to_json(found)))
        return
    table = Table(Column("name", no_wrap=True), "kind", "parameters", "field", "licence", "description")
    for info in found.models:
        table.add_row(
            info.name, info.kind, f"{info.num_parameters / 1e6:.2f} M",
            info.quantity if info.has_surface else "no surface",
            info.licence + (" (non-commercial)" if info.non_commercial else ""), info.description,
        )  # fmt: skip
    for broken in found.broken:
        table.add_row(broken.name, "", "", "", "", escape(broken.error.message), style="red")
    show(table)


@cli.command()
def generate(
    model: Model,
    out: ImageOut,
    seed: Seed = 0,
    seed2: Seed2 = None,
    mix_geometry: MixGeometry = 0.0,
    mix_appearance: MixAppearance = 0.0,
    truncation: Truncation = 1.0,
    code: Code = "",
    control: ControlOption = None,
    yaw: Yaw = 0.0,
    pitch: Pitch = 0.0,
    roll: Roll = 0.0,
    fov: Fov = None,
    camera_path: PathFile = None,
    size: Size = None,
    samples: Samples = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Make an image of a latent, or one for each camera of a path."""
    shared = workspace(device)
    ref = scene_ref(shared, model, seed, seed2, mix_geometry, mix_appearance, truncation, control, code)
    if camera_path is None:
        from .cameras import orbit

        info = shared.generator(ref.model).info
        prior = info.pose_prior
        camera = orbit(
            info, image_size(size, info.image_size), azimuth=prior.default_azimuth + angle("--yaw", yaw),
            elevation=prior.default_elevation + angle("--pitch", pitch), roll=angle("--roll", roll),
            fov=None if fov is None else field_of_view(fov),
        )  # fmt: skip
        if out.suffix.lower() != ".png":
            raise InvalidRequest(f"--out must end in .png, got {out.name!r}. A folder goes with --camera-path.")
        render_frames(shared, ref, [camera], [out], samples, as_json)
    else:
        render_path(shared, ref, camera_path, out, size, samples, as_json)


@cli.command()
def render(
    model: Model,
    camera_path: Annotated[Path, typer.Option(help="camera_path.json or transforms.json.")],
    out: Annotated[Path, typer.Option(help="Folder for the images, one a frame.")],
    seed: Seed = 0,
    seed2: Seed2 = None,
    mix_geometry: MixGeometry = 0.0,
    mix_appearance: MixAppearance = 0.0,
    truncation: Truncation = 1.0,
    code: Code = "",
    control: ControlOption = None,
    size: Size = None,
    samples: Samples = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Render the frames of a camera path to numbered images with alpha."""
    shared = workspace(device)
    ref = scene_ref(shared, model, seed, seed2, mix_geometry, mix_appearance, truncation, control, code)
    render_path(shared, ref, camera_path, out, size, samples, as_json)


@cli.command()
def mesh(
    model: Model,
    out: Annotated[Path, typer.Option(help="A file that ends in .obj, .ply or .glb.")],
    seed: Seed = 0,
    seed2: Seed2 = None,
    mix_geometry: MixGeometry = 0.0,
    mix_appearance: MixAppearance = 0.0,
    truncation: Truncation = 1.0,
    code: Code = "",
    control: ControlOption = None,
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds.")] = 128,
    level: Annotated[float | None, typer.Option(help="Level of the surface; the model's own if left out.")] = None,
    target_faces: Annotated[int, typer.Option(help="Number of triangles to reduce to; 0 keeps all.")] = 0,
    minimum_component: Annotated[float, typer.Option(help="Drop pieces below this part of the largest.")] = 0.01,
    smoothing: Annotated[int, typer.Option(help="Rounds that take noise from the surface of a density.")] = 10,
    color: Annotated[MeshColor, typer.Option(help="Colours from the model.")] = MeshColor.vertex,
    texture_size: Annotated[int, typer.Option(help="Pixels of the texture's side.")] = 1024,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Make a mesh of a latent and write it to a file."""
    from .tasks.mesh import mesh as make_mesh

    check_mesh_name(out)
    shared = workspace(device)
    ref = scene_ref(shared, model, seed, seed2, mix_geometry, mix_appearance, truncation, control, code)
    request = MeshRequest(
        ref, resolution=resolution, iso_level=level, target_faces=target_faces, minimum_component=minimum_component,
        color=color.value, texture_size=texture_size, smoothing=smoothing,
    )  # fmt: skip
    with progress_bar() as report, expected_errors():
        try:
            result = make_mesh(request, part(report, 0.0, 0.95), shared)
        except NotSupported as error:
            if error.remedy is None or error.remedy.action != "fit_views":
                raise
            commands = f"`views {model} --out VIEWS`, `fit VIEWS --out SCENE.safetensors`, `mesh SCENE.safetensors`"
            raise NotSupported(f"{error.message} The commands: {commands}.", remedy=error.remedy) from error
        report(0.95, f"Writing {out.name}")
        files = write_mesh(result, out)
    answer(
        as_json,
        {
            "files": files, "vertices": len(result.vertices), "faces": len(result.faces),
            "iso_level": result.iso_level, "seconds": round(result.seconds, 3),
        },
    )  # fmt: skip


@cli.command()
def complete(
    model: Model,
    scan: Annotated[Path, typer.Argument(help="A mesh or points (.ply, .obj), or a depth image (.npy).")],
    out: Annotated[Path, typer.Option(help="The whole shape: a file that ends in .obj, .ply or .glb.")],
    camera: Annotated[Path | None, typer.Option(help="Of a depth image: camera_path.json or transforms.json.")] = None,
    iterations: Annotated[int, typer.Option(help="Steps of auto-decoding.")] = 800,
    seed: Seed = 0,
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds.")] = 128,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the latent whose shape fits a partial scan, and mesh it. Z up, metres, in the model's own place.

    A depth image is float32 [H, W], metres along the camera's z, inf where nothing was seen; what lies in front of it
    is known to be empty.
    """
    from .tasks.complete import complete as complete_task
    from .tasks.mesh import mesh as make_mesh

    check_mesh_name(out)
    shared = workspace(device)
    name = scene_ref(shared, model, 0, None, 0.0, 0.0, 1.0, None).model
    blob = shared.blobs.put(payload.pack(read_scan(scan, camera)))
    with progress_bar() as report, expected_errors():
        found = complete_task(CompleteRequest(name, blob, iterations, seed), part(report, 0.0, 0.7), shared)
        request = MeshRequest(SceneRef(name, Latent(code=found.code)), resolution=resolution)
        files = write_mesh(make_mesh(request, part(report, 0.7, 0.95), shared), out)
    answer(as_json, {"files": files, "error": found.error, "code": found.code, "seconds": round(found.seconds, 3)})


@cli.command("image-to-shape")
def image_to_shape(
    model: Model,
    picture: Annotated[Path, typer.Argument(help="A picture of one object; its alpha, if any, is the mask.")],
    out: Annotated[Path, typer.Option(help="The shape: a file that ends in .obj, .ply or .glb.")],
    resolution: Annotated[int, typer.Option(help="Cells along the longest side of the bounds.")] = 128,
    voxels: Annotated[Path | None, typer.Option(help="Also write the voxels: .npy, float32 0..1, [z, y, x].")] = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Find the shape that a picture shows, and mesh it."""
    from .tasks.image_to_shape import image_to_shape as encode
    from .tasks.image_to_shape import read_file, write_voxels
    from .tasks.mesh import mesh as make_mesh

    check_mesh_name(out)
    shared = workspace(device)
    name = model_name(shared, model)
    with progress_bar() as report, expected_errors():
        blob = shared.blobs.put(read_file(picture))
        found = encode(ImageToShapeRequest(name, blob), part(report, 0.0, 0.4), shared)
        for note in found.notes:
            complain(note)
        scene = SceneRef(name, Latent(code=found.code))
        files = write_mesh(make_mesh(MeshRequest(scene, resolution=resolution), part(report, 0.4, 0.95), shared), out)
        if voxels is not None:
            files.append(write_voxels(shared.scene(scene), voxels))
    answer(
        as_json,
        {"files": files, "code": found.code, "notes": list(found.notes), "seconds": round(found.seconds, 3)},
    )


@cli.command("fit-shape")
def fit_shape(
    source: Annotated[Path, typer.Argument(metavar="MESH", help="A mesh: .obj, .ply, .glb or .stl.")],
    name: Annotated[str, typer.Option(help="Name of the model that is made.")],
    steps: Annotated[int, typer.Option(help="Training steps.")] = 2000,
    preset: Annotated[ShapePreset, typer.Option(help="official is the 8 x 512 network of the paper.")] = (
        ShapePreset.small
    ),
    seed: Seed = 0,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Learn one mesh as a signed distance field, and keep it as a model."""
    from meshing.io import import_mesh

    from .tasks.fit_shape import fit_shape as fit_task

    shared = workspace(device)
    with progress_bar() as report, expected_errors():
        made = import_mesh(source)
        blob = shared.blobs.put(payload.pack(MeshBlob(made.vertices, made.faces)))
        request = FitShapeRequest(name, blob, steps, preset.value, seed)
        result = fit_task(request, report, shared)
    answer(as_json, {"model": result.name, "seconds": round(result.seconds, 3)})


@cli.command()
def bench(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(benches.BENCHES)}.")],
    only: Annotated[list[str] | None, typer.Option(metavar="CASE", help="A case of `generators`; repeatable.")] = None,
    weights: Annotated[Path | None, typer.Option(help="Folder of fitted weights for `generators`.")] = None,
    device: Annotated[str | None, typer.Option(help="Of `nerf`: cuda or mps in place of the processor.")] = None,
    as_json: Json = False,
) -> None:
    """Measure, and compare with the bar."""
    if name != "generators" and (only or weights):
        raise InvalidRequest("--only and --weights belong to `bench generators`.")
    if name == "generators" and device is None:
        rows = benches.run_generators(tuple(only or ()), weights)
    else:
        rows = benches.run(name, device)
    if as_json:
        write_json([dataclasses.asdict(row) for row in rows])
        return
    table = Table("measure", "value", "unit", "bar", "ok")
    for row in rows:
        bar = "" if row.bar is None else f"{row.bar:g}"
        table.add_row(row.measure, f"{row.value:.4g}", row.unit, bar, "yes" if row.ok else "NO")
    show(table)


@cli.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="FILE_OR_FOLDER", help="An official checkpoint.")],
    out: Annotated[Path, typer.Option(help="Folder of the model that is made.")],
    kind: Annotated[str | None, typer.Option(help="Architecture, where it cannot be told from the file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a model that lies in the folder.")] = False,
    as_json: Json = False,
) -> None:
    """Convert an official checkpoint into a model folder; no code in it is run."""
    from .checkpoints.convert import import_model

    if (out / "card.json").exists() and not overwrite:
        raise InvalidRequest(f"There is a model in {out} already: give another folder, or --overwrite to replace it.")
    card = import_model(source, out, kind)
    answer(as_json, {"folder": str(out), **{k: v for k, v in dataclasses.asdict(card).items() if k != "card"}})


@cli.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def train(context: typer.Context) -> None:
    """Train a model by its committed recipe: train RECIPE [options]; train RECIPE --help lists them."""
    name, arguments = (context.args[0], context.args[1:]) if context.args else ("", [])
    known = recipes()
    if name not in known:
        raise InvalidRequest(f"Say what to train: one of {', '.join(known)}.")
    known[name](arguments)


# ------------------------------------------------------------------------------------------------------------- helpers


def scene_ref(
    shared: Workspace,
    model: str,
    seed: int,
    seed2: int | None,
    mix_geometry: float,
    mix_appearance: float,
    truncation: float,
    controls: list[str] | None,
    code: str = "",
) -> SceneRef:
    """Return what to render from the options that all commands share."""
    if seed2 is None and (mix_geometry or mix_appearance):
        raise InvalidRequest("--mix-geometry and --mix-appearance need --seed2, the latent to mix with.")
    name = model_name(shared, model)
    latent = Latent(seed, seed2 or 0, mix_geometry, mix_appearance, truncation, code)
    values = {}
    for entry in controls or []:
        key, _, value = entry.partition("=")
        try:
            values[key] = float(value)
        except ValueError:
            raise InvalidRequest(f"--control takes NAME=NUMBER, got {entry!r}") from None
    return SceneRef(name, latent, values)


def check_mesh_name(out: Path) -> None:
    """Refuse a file name that no mesh can be written to. Raises InvalidRequest."""
    if out.suffix.lower() not in (".obj", ".ply", ".glb"):
        raise InvalidRequest(f"--out must end in .obj, .ply or .glb, got {out.name!r}.")


def write_mesh(result: MeshResult, out: Path) -> list[str]:
    """Write a mesh and return the files it became."""
    from meshing.io import export_mesh
    from meshing.mesh import Mesh

    made = Mesh(result.vertices, result.faces, result.normals, result.colors, result.uvs, result.texture)
    return [str(file) for file in export_mesh(made, out)]


def read_scan(path: Path, camera: Path | None) -> ScanBlob:
    """Return a partial scan: the points of a mesh or point file, or those that a depth image and its camera give.

    Raises:
        UnreadableFile: not such a file, a depth image of another size than the camera's, or an empty one.
        InvalidRequest: a depth image without a camera.
    """
    import numpy as np

    if path.suffix.lower() != ".npy":
        import trimesh

        try:
            loaded = trimesh.load(path, process=False)
            points = np.asarray(loaded.to_geometry().vertices if isinstance(loaded, trimesh.Scene) else loaded.vertices)
        except Exception as error:  # a parser of many formats raises whatever it likes
            raise UnreadableFile(f"The scan {path} cannot be read: {error}.") from error
        return ScanBlob(np.ascontiguousarray(points, np.float32))
    if camera is None:
        raise InvalidRequest("A depth image needs --camera: the camera_path.json or transforms.json it was seen with.")
    import torch

    from .camera_path import read_camera_path
    from .cameras import from_wire
    from .generators.deepsdf.reconstruct import points_of_depth

    view = from_wire(read_camera_path(camera)[0])
    try:
        depth = np.load(path, allow_pickle=False).astype(np.float32)
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"The depth image {path} cannot be read: {error}.") from error
    if depth.shape != (view.height, view.width):
        raise UnreadableFile(f"The depth image is {list(depth.shape)}, its camera {[view.height, view.width]} pixels.")
    seen, origins = points_of_depth(torch.from_numpy(depth), view)
    return ScanBlob(seen.numpy(), None, origins.numpy())


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


def render_path(
    shared: Workspace, ref: SceneRef, path: Path, out: Path, size: int | None, samples: int, as_json: bool
) -> None:
    """Render each camera of a path into the folder `out`."""
    from .camera_path import read_camera_path

    cameras = read_camera_path(path, None if size is None else image_size(size, size))
    files = [out / f"frame_{number:05d}.png" for number in range(len(cameras))]
    render_frames(shared, ref, cameras, files, samples, as_json)


def render_frames(
    shared: Workspace, ref: SceneRef, cameras: list[Camera], files: list[Path], samples: int, as_json: bool
) -> None:
    """Render cameras to PNG files with alpha."""
    from PIL import Image

    from .tasks.render import image8
    from .tasks.render import render as render_task

    started = time.perf_counter()
    notes: dict[str, None] = {}
    with progress_bar() as report, expected_errors():
        for number, (camera, file) in enumerate(zip(cameras, files, strict=True)):
            step = part(report, number / len(files), (number + 1) / len(files))
            result = render_task(RenderRequest(ref, camera, samples_per_ray=samples), step, shared)
            notes.update(dict.fromkeys((result.note,) if result.note else ()))
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image8(result.rgba)).save(file, format="PNG")
            except OSError as error:
                raise CannotWrite(f"{file} cannot be written: {error.strerror or error}.") from error
    for note in notes:
        complain(note)
    answer(
        as_json,
        {
            "files": [str(file) for file in files], "width": cameras[0].width, "height": cameras[0].height,
            "model": ref.model, "notes": list(notes), "seconds": round(time.perf_counter() - started, 3),
        },
    )  # fmt: skip


def main() -> int:
    """Run the command line and return the exit status."""
    try:
        cli(standalone_mode=True)
    except LatheError as error:
        if "--json" in sys.argv:
            write_json({"error": error_to_dict(error)})
        complain(error.message)
        return 1
    except KeyboardInterrupt:
        complain("Cancelled")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
