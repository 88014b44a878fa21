"""What can be asked and answered: plain frozen dataclasses.

Vocabulary. A *request* is pure JSON; arrays that belong to it (a scan, a mesh) are uploaded as blobs first and named by
sha256. A *result* carries arrays and travels as safetensors bytes (`payload.pack`). Frames and units: world is
right-handed, Z up, metres; cameras are `world_from_camera` with OpenCV axes (x right, y down, z forward) and intrinsics
in pixels with centres at +0.5; images are [height, width, channels], top row first, float32. Radians throughout.

Each dataclass checks its own ranges when it is made, so an invalid request cannot be built on either side.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from .errors import InvalidRequest, Remedy

PROTOCOL_VERSION = 1

Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Matrix4 = tuple[Row4, Row4, Row4, Row4]
Bounds = tuple[Row3, Row3]
"""Axis-aligned box: (minimum corner, maximum corner), metres."""

IDENTITY4: Matrix4 = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))

MAX_IMAGE_SIDE = 8192
MAX_RESOLUTION = 1024
MAX_SEED = 2**31 - 1
MAX_NUMBER = 1e12  # of matrices: metres, pixels

MAX_FILES = 8000  # of one data set; more do not fit into one request
MAX_FILE_NAME = 240  # characters of a file's path within its data set

_SHA256 = re.compile(r"^[0-9a-f]{64}$")
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
_NO_FILE_NAME = re.compile(r"[\x00-\x1f\x7f<>:\"|?*\\]")  # no system's file names, or Windows' alone
_DEVICES = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def _in_range(name: str, value: float, minimum: float, maximum: float) -> None:
    def shown(number: float) -> str:
        return str(number) if isinstance(number, int) else f"{number:g}"

    if not (math.isfinite(value) and minimum <= value <= maximum):
        nearest = min(max(value, minimum), maximum)
        raise InvalidRequest(
            f"{name} must be between {shown(minimum)} and {shown(maximum)}, got {shown(value)}: choose another",
            remedy=Remedy("set_value", f"Set {name} to {shown(nearest)}", name) if math.isfinite(value) else None,
        )


def _check_name(what: str, value: str) -> None:
    if not _NAME.match(value):
        raise InvalidRequest(f"{what} must be letters, digits, '.', '-' and '_', got {value[:100]!r}")


def _check_sha256(what: str, value: str) -> None:
    if not _SHA256.match(value):
        raise InvalidRequest(f"{what} must be a sha256 in 64 lower-case hex digits, got {value[:80]!r}")


def _check_files(files: dict[str, str]) -> None:
    """Refuse anything but relative paths that lie in one folder on every system, each with a sha256."""
    if len(files) > MAX_FILES:
        raise InvalidRequest(f"a data set may have at most {MAX_FILES} files, got {len(files)}: leave some images out")
    seen: set[str] = set()
    for name, sha256 in files.items():
        parts = name.split("/")
        if len(name) > MAX_FILE_NAME or _NO_FILE_NAME.search(name):
            raise InvalidRequest(f"{name[:100]!r} is not a file name that every system knows: rename the file")
        if any(p in ("", ".", "..") or p[-1] in ". " or _DEVICES.match(p) for p in parts):
            raise InvalidRequest(f"{name[:100]!r} is not a path inside the data set")
        _check_sha256(f"the content of {name!r}", sha256)
        seen.add(name.casefold())
    if len(seen) != len(files):
        raise InvalidRequest("two files of the data set differ in upper and lower case only: rename one")
    for name in seen:
        parts = name.split("/")
        if any("/".join(parts[:count]) in seen for count in range(1, len(parts))):
            raise InvalidRequest(f"{name[:100]!r} lies in what is a file of the data set itself")


def _check_controls(controls: dict[str, float]) -> None:
    for name, value in controls.items():
        if not math.isfinite(value):
            raise InvalidRequest(f"control {name[:100]!r} is not finite")


def _check_finite(what: str, rows: tuple[tuple[float, ...], ...]) -> None:
    """Also bounds the values: beyond, products overflow, and no camera or object stands there."""
    if not all(abs(value) <= MAX_NUMBER for row in rows for value in row):
        raise InvalidRequest(f"{what} holds a value that is not finite, or larger than {MAX_NUMBER:g}")


# --------------------------------------------------------------------------------------------------------------- models


@dataclass(frozen=True)
class Control:
    """A slider that a model has beside its latents; the panel draws it from this alone."""

    name: str
    label: str
    description: str
    default: float
    minimum: float
    maximum: float
    unit: Literal["", "radians", "metres", "switch", "integer"] = ""  # a switch is 0 or 1


@dataclass(frozen=True)
class PosePrior:
    """Where the model's training cameras stood, looking at the centre of its bounds. The panel's default view."""

    radius: float  # metres, from the centre
    fov: float  # vertical, radians
    azimuth: tuple[float, float] = (-math.pi, math.pi)  # radians about +Z, 0 = looking along +Y at the model's front
    elevation: tuple[float, float] = (-math.pi / 2, math.pi / 2)  # radians above the XY plane
    default_azimuth: float = 0.0
    default_elevation: float = 0.0


@dataclass(frozen=True)
class ModelInfo:
    """Everything the add-on knows of a model."""

    name: str  # folder name, the key in requests
    label: str
    kind: str  # architecture: "deepsdf", "pigan", ...
    description: str
    licence: str
    non_commercial: bool
    card: str  # Markdown: data, recipe, figures
    z_dim: int
    num_ws: int
    w_dim: int
    num_geometry_ws: int  # ws[:n] shape geometry, ws[n:] appearance
    num_parameters: int
    has_truncation: bool
    has_surface: bool
    no_surface_reason: str  # shown in place of the mesh button
    has_color: bool
    quantity: Literal["density", "sdf"]
    iso_level: float  # 1/metre for density, metres for sdf
    iso_range: tuple[float, float]
    bounds: Bounds  # metres, the model upright at the origin
    pose_prior: PosePrior
    image_size: int  # native image side, pixels
    pose_conditioned: bool = False  # the mapping is told a camera (EG3D): Latent.condition
    controls: tuple[Control, ...] = ()
    capabilities: tuple[str, ...] = ()  # "complete", "image_to_shape", "transfer_texture": tasks beyond render
    source: Literal["starter", "imported", "trained"] = "trained"
    code_names: tuple[str, ...] = ()  # of a model of two codes, ("Shape", "Texture") say: seed_a picks the first with
    # mix_geometry 0, seed_b the second with mix_appearance 1, each alone


@dataclass(frozen=True)
class Latent:
    """Which shape: two seeds and how they mix, or a stored code.

    mix_geometry and mix_appearance interpolate linearly in w from seed_a (0) to seed_b (1); a model without separate
    appearance uses mix_geometry for all of its ws.
    """

    seed_a: int = 0
    seed_b: int = 0
    mix_geometry: float = 0.0
    mix_appearance: float = 0.0
    truncation_psi: float = 1.0
    code: str = ""  # sha256 of a packed CodeBlob (kept by `complete`, or uploaded); replaces seed_a where set
    style_mix: tuple[int, ...] = ()  # these rows of ws come from seed_b whole (style mixing, layer by layer)
    condition: tuple[float, float] | None = None  # (azimuth, elevation), radians, of the camera that a pose-conditioned
    # model (ModelInfo.pose_conditioned) is told of; None = its front. The view that is rendered is another camera.

    def __post_init__(self) -> None:
        for row in self.style_mix:
            _in_range("style_mix", row, 0, 511)
        for angle in self.condition or ():
            _in_range("condition", angle, -2 * math.pi, 2 * math.pi)
        _in_range("seed A", self.seed_a, 0, MAX_SEED)
        _in_range("seed B", self.seed_b, 0, MAX_SEED)
        _in_range("mix_geometry", self.mix_geometry, 0.0, 1.0)
        _in_range("mix_appearance", self.mix_appearance, 0.0, 1.0)
        _in_range("truncation_psi", self.truncation_psi, 0.0, 2.0)
        if self.code:
            _check_sha256("code", self.code)


@dataclass(frozen=True)
class SceneRef:
    """What to render or mesh: a model with a latent, and where it stands."""

    model: str
    latent: Latent = Latent()
    controls: dict[str, float] = field(default_factory=dict)  # by Control.name; missing ones take their default
    world_from_scene: Matrix4 = IDENTITY4  # any invertible affine transform
    crop: Bounds | None = None  # of a density: what lies outside is empty. In the scene's own frame, metres

    def __post_init__(self) -> None:
        _check_name("model", self.model)
        if self.crop is not None:
            _check_finite("crop", self.crop)
            if any(high <= low for low, high in zip(*self.crop)):
                raise InvalidRequest("the crop box is inside out: each maximum must be above its minimum")
        _check_finite("world_from_scene", self.world_from_scene)
        if self.world_from_scene[3] != (0.0, 0.0, 0.0, 1.0):
            raise InvalidRequest("the last row of world_from_scene must be 0 0 0 1")
        if abs(np.linalg.det(np.array(self.world_from_scene)[:3, :3])) < 1e-12:
            raise InvalidRequest("world_from_scene has no inverse: a scale of the object is zero")
        _check_controls(self.controls)


@dataclass(frozen=True)
class Camera:
    """A pinhole or orthographic camera.

    world_from_camera is rigid, with OpenCV axes. intrinsics are [[fx, s, cx], [0, fy, cy], [0, 0, 1]] in pixels; for an
    orthographic camera fx and fy are pixels per metre. Pixel (0, 0) is top left, its centre at (0.5, 0.5).
    """

    world_from_camera: Matrix4
    intrinsics: Matrix3
    width: int
    height: int
    projection: Literal["perspective", "orthographic"] = "perspective"

    def __post_init__(self) -> None:
        _in_range("width", self.width, 1, MAX_IMAGE_SIDE)
        _in_range("height", self.height, 1, MAX_IMAGE_SIDE)
        _check_finite("world_from_camera", self.world_from_camera)
        _check_finite("intrinsics", self.intrinsics)
        rotation = np.array(self.world_from_camera)[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3 or np.linalg.det(rotation) < 0:
            raise InvalidRequest("world_from_camera is not a rotation and a translation: remove scale and mirroring")
        if self.world_from_camera[3] != (0.0, 0.0, 0.0, 1.0):
            raise InvalidRequest("the last row of world_from_camera must be 0 0 0 1")
        if self.intrinsics[0][0] <= 0 or self.intrinsics[1][1] <= 0:
            raise InvalidRequest("the focal lengths in intrinsics must be positive")


# ------------------------------------------------------------------------------------------------------------- requests


@dataclass(frozen=True)
class RenderRequest:
    """Task `render` -> ImageResult: one view of one scene."""

    scene: SceneRef
    camera: Camera
    quality: Literal["draft", "full"] = "full"
    samples_per_ray: int = 0  # 0 = the model's own
    with_normal: bool = False

    def __post_init__(self) -> None:
        _in_range("samples_per_ray", self.samples_per_ray, 0, 1024)


@dataclass(frozen=True)
class GenerateRequest:
    """Task `generate` -> SheetResult: one small image of each latent, from the model's own view or the camera given."""

    model: str
    latents: tuple[Latent, ...]
    size: int = 128  # pixels, each image
    camera: Camera | None = None
    controls: dict[str, float] = field(default_factory=dict)  # as in SceneRef, of all of them
    quality: Literal["draft", "full"] = "full"

    def __post_init__(self) -> None:
        _check_name("model", self.model)
        _in_range("size", self.size, 8, 1024)
        _in_range("number of latents", len(self.latents), 1, 256)
        _check_controls(self.controls)


@dataclass(frozen=True)
class MeshRequest:
    """Task `mesh` -> MeshResult: the scene's surface as a mesh in the scene's own frame (world_from_scene is the
    object's transform and is not applied to the vertices)."""

    scene: SceneRef
    resolution: int = 128  # cells along the longest side of the bounds
    iso_level: float | None = None  # None = the model's own
    target_faces: int = 0  # 0 = keep all
    minimum_component: float = 0.01  # drop pieces below this fraction of the largest piece's area; 0 keeps all
    fill_holes: bool = True
    smooth_normals: bool = True
    color: Literal["none", "vertex", "texture"] = "vertex"
    texture_size: int = 1024
    smoothing: int = 10  # rounds, for the surface of a density: a signed distance has no such noise

    def __post_init__(self) -> None:
        _in_range("resolution", self.resolution, 8, MAX_RESOLUTION)
        if self.iso_level is not None and not math.isfinite(self.iso_level):
            raise InvalidRequest("iso_level is not finite")
        _in_range("target_faces", self.target_faces, 0, 50_000_000)
        _in_range("minimum_component", self.minimum_component, 0.0, 1.0)
        _in_range("texture_size", self.texture_size, 16, 8192)
        _in_range("smoothing", self.smoothing, 0, 1000)


@dataclass(frozen=True)
class CompleteRequest:
    """Task `complete` -> LatentResult: the latent whose shape fits a partial scan (DeepSDF, Sec. 6.3)."""

    model: str
    blob: str  # sha256 of packed `ScanBlob`
    iterations: int = 800
    seed: int = 0

    def __post_init__(self) -> None:
        _check_name("model", self.model)
        _check_sha256("blob", self.blob)
        _in_range("iterations", self.iterations, 1, 100_000)


@dataclass(frozen=True)
class FitShapeRequest:
    """Task `fit_shape` -> ModelResult: a single-shape DeepSDF trained on one mesh, kept as a model of this name."""

    name: str
    blob: str  # sha256 of packed `MeshBlob`
    steps: int = 2000
    preset: Literal["small", "official"] = "small"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        _check_sha256("blob", self.blob)
        _in_range("steps", self.steps, 1, 1_000_000)


@dataclass(frozen=True)
class ImageToShapeRequest:
    """Task `image_to_shape` -> ImageToShapeResult: the latent of the shape that a picture shows (3D-VAE-GAN), by models
    with that capability."""

    model: str
    picture: str  # sha256 of the uploaded bytes of an image file of any size; its alpha, if it has one, is the mask

    def __post_init__(self) -> None:
        _check_name("model", self.model)
        _check_sha256("picture", self.picture)


@dataclass(frozen=True)
class TransferTextureRequest:
    """Task `transfer_texture` -> ImageToShapeResult: the shape of a latent with the texture that a picture shows
    (Visual Object Networks), by models with that capability."""

    model: str
    latent: Latent  # the shape that is dressed
    picture: str  # as in ImageToShapeRequest

    def __post_init__(self) -> None:
        _check_name("model", self.model)
        _check_sha256("picture", self.picture)


@dataclass(frozen=True)
class FitOptions:
    """How a radiance field is fitted to images."""

    method: Literal["hash", "nerf"] = "hash"  # the fast engine, or the network as published
    preset: Literal["draft", "standard", "fine"] = "standard"  # size of the field and duration
    seconds: float = 0.0  # of fitting in all, over all sessions; 0 = the preset's, unless steps are given
    steps: int = 0  # in all; 0 = as the seconds say
    background: Literal["auto", "white", "black", "random", "transparent"] = (
        "auto"  # what lies behind images with alpha; behind others, white and black say that it is that colour
    )
    color_space: Literal["srgb", "linear"] = "srgb"  # in which colours are composited
    unbounded: Literal["auto", "yes", "no"] = "auto"  # whether the scene goes on beyond the cameras
    appearance: Literal["none", "exposure", "color"] = (
        "none"  # learn of each image its exposure and white balance, or a colour transform
    )
    distortion_weight: float = 0.0  # presses the density of a ray together
    opacity_weight: float = 0.0  # prefers rays that are clear or blocked
    near: float = 0.0  # metres: density nearer to a training camera than this is removed
    use_masks: bool = True  # where the data set has masks
    flip_axes: bool = False  # the cameras have other axes than the data set's format says: negate y and z
    depth_weight: float = 0.0  # of depth images, where the data set has them
    refine_poses: bool = False  # fit the cameras too
    seed: int = 0

    def __post_init__(self) -> None:
        _in_range("seconds", self.seconds, 0.0, 7 * 24 * 3600.0)
        _in_range("steps", self.steps, 0, 10_000_000)
        _in_range("distortion_weight", self.distortion_weight, 0.0, 100.0)
        _in_range("opacity_weight", self.opacity_weight, 0.0, 100.0)
        _in_range("near", self.near, 0.0, 1e6)
        _in_range("depth_weight", self.depth_weight, 0.0, 1000.0)
        _in_range("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class FitRequest:
    """Task `fit` -> FitResult: a radiance field of a data set, kept as a model of this name.

    Cancelling is pausing: what was fitted is saved first, and `resume` goes on from there, also after the backend was
    killed.
    """

    name: str
    files: dict[str, str] = field(default_factory=dict)  # path within the data set -> sha256 of the uploaded bytes
    options: FitOptions = FitOptions()
    resume: bool = False  # go on with the fit of this name: its own files and options, save for seconds and steps not 0
    preview: Camera | None = None  # what the progress' pictures show; None = images held back

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        _check_files(self.files)
        if not (self.files or self.resume):
            raise InvalidRequest("a fit needs the files of a data set: images and their cameras")


@dataclass(frozen=True)
class DiscardFitRequest:
    """Task `discard_fit` -> ModelResult: throw away what is needed to go on with a fit. The model made of it stays."""

    name: str

    def __post_init__(self) -> None:
        _check_name("name", self.name)


@dataclass(frozen=True)
class SfmRequest:
    """Task `sfm` -> SfmResult: the cameras of photographs, or of one video, by structure from motion."""

    files: dict[str, str]  # path -> sha256 of the uploaded bytes
    max_size: int = 1600  # pixels of the longer side that features are sought in
    max_images: int = 200  # of a video, or of more photographs, that many are taken at equal distances

    def __post_init__(self) -> None:
        _check_files(self.files)
        if not self.files:
            raise InvalidRequest("there are no photographs to pose: choose a folder of images, or a video")
        _in_range("max_size", self.max_size, 128, MAX_IMAGE_SIDE)
        _in_range("max_images", self.max_images, 2, MAX_FILES)


@dataclass(frozen=True)
class ViewsRequest:
    """Task `views` -> ViewsResult: pictures of a scene from all over the viewpoints that its model was trained on, as a
    data set that `fit` takes. So a model without a surface gets one."""

    scene: SceneRef
    count: int = 60  # pictures
    size: int = 0  # pixels of their side; 0 = the model's own
    seed: int = 0  # of the viewpoints

    def __post_init__(self) -> None:
        _in_range("count", self.count, 4, MAX_FILES - 1)
        if self.size:
            _in_range("size", self.size, 16, MAX_IMAGE_SIDE)
        _in_range("seed", self.seed, 0, MAX_SEED)


@dataclass(frozen=True)
class ImportRequest:
    """Task `import_checkpoint` -> ModelResult: an official checkpoint, kept as a model of this name. No code that lies
    in it is run."""

    name: str
    files: dict[str, str]  # path -> sha256 of the uploaded bytes; several files are one folder
    kind: str = ""  # architecture, one of ModelList.kinds; empty: as the files tell
    label: str = ""  # what the panel calls it; empty: as the files tell

    def __post_init__(self) -> None:
        _check_name("name", self.name)
        _check_files(self.files)
        if not self.files:
            raise InvalidRequest("there is nothing to import: choose a checkpoint")
        if self.kind:
            _check_name("kind", self.kind)
        if len(self.label) > 100:
            raise InvalidRequest(f"label may have at most 100 characters, got {len(self.label)}")


Request = (
    RenderRequest
    | GenerateRequest
    | MeshRequest
    | CompleteRequest
    | FitShapeRequest
    | ImageToShapeRequest
    | TransferTextureRequest
    | FitRequest
    | DiscardFitRequest
    | SfmRequest
    | ViewsRequest
    | ImportRequest
)

REQUESTS: dict[str, type] = {
    "render": RenderRequest,
    "generate": GenerateRequest,
    "mesh": MeshRequest,
    "complete": CompleteRequest,
    "fit_shape": FitShapeRequest,
    "image_to_shape": ImageToShapeRequest,
    "transfer_texture": TransferTextureRequest,
    "fit": FitRequest,
    "discard_fit": DiscardFitRequest,
    "sfm": SfmRequest,
    "views": ViewsRequest,
    "import_checkpoint": ImportRequest,
}


# -------------------------------------------------------------------------------------------------- results and uploads


@dataclass(frozen=True, eq=False)
class ImageResult:
    """One view. rgba: float32 [H, W, 4], sRGB, straight alpha. depth: float32 [H, W], metres along the camera's z, inf
    where empty. normal: float32 [H, W, 3], world, unit length, 0 where empty; or None. note: a sentence for the user,
    where what is shown is not quite what was asked for (a viewpoint that the model was never trained on)."""

    rgba: np.ndarray
    depth: np.ndarray
    normal: np.ndarray | None = None
    seconds: float = 0.0
    note: str = ""


@dataclass(frozen=True, eq=False)
class SheetResult:
    """Small images of several latents. images: uint8 [N, H, W, 4], sRGB, straight alpha."""

    images: np.ndarray
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class MeshResult:
    """A triangle mesh in the scene's frame. vertices: float32 [V, 3], metres. faces: int32 [F, 3], counter-clockwise
    seen from outside. normals: float32 [V, 3] or None. colors: uint8 [V, 4] sRGB or None. uvs: float32 [F, 3, 2], one
    per face corner, v upward, or None. texture: uint8 [H, W, 4] sRGB, top row first, or None."""

    vertices: np.ndarray
    faces: np.ndarray
    normals: np.ndarray | None = None
    colors: np.ndarray | None = None
    uvs: np.ndarray | None = None
    texture: np.ndarray | None = None
    iso_level: float = 0.0
    name: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class LatentResult:
    """A latent found by fitting. ws: float32 [num_ws, w_dim]. code: for `Latent.code`; the backend keeps it."""

    ws: np.ndarray
    code: str
    error: float  # mean absolute distance to the scan, metres
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ImageToShapeResult:
    """The latent of a picture. ws: float32 [num_ws, w_dim]. code: for `Latent.code`; the backend keeps it. seen: uint8
    [H, W, 3] sRGB, the picture as the model was shown it. notes: sentences for the user, what was done to it."""

    ws: np.ndarray
    code: str
    seen: np.ndarray
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ModelResult:
    """A model was stored under this name."""

    name: str
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class FitResult:
    """A radiance field was fitted and stored as a model of this name. psnr (dB) and ssim: means over the images held
    back, None where there are none. world_from_camera: float32 [N, 4, 4] of the training views named by view_names,
    refined if that was asked for."""

    name: str
    steps: int
    world_from_camera: np.ndarray
    view_names: tuple[str, ...] = ()
    psnr: float | None = None
    ssim: float | None = None
    seconds: float = 0.0  # of fitting, over all sessions
    warnings: tuple[str, ...] = ()  # about the data set, for the user


@dataclass(frozen=True, eq=False)
class SfmResult:
    """Posed photographs. names: of the posed images, as in the request (frames of a video: as `transforms` names them).
    world_from_camera: float32 [N, 4, 4], OpenCV axes; intrinsics: float32 [N, 3, 3], pixels; sizes: int32 [N, 2], width
    and height. points: float32 [P, 3], colors: uint8 [P, 3] sRGB: the sparse model. transforms: the text of a
    transforms.json for the whole data set, images/… beside it. report: JSON of the model's health. The scale is not
    metres: photographs alone do not know it."""

    names: tuple[str, ...]
    world_from_camera: np.ndarray
    intrinsics: np.ndarray
    sizes: np.ndarray
    points: np.ndarray
    colors: np.ndarray
    transforms: str = ""
    report: str = ""
    files: dict[str, str] = field(default_factory=dict)  # the data set as uploads, ready for FitRequest.files
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ViewsResult:
    """Pictures of a scene as a data set. files: ready for FitRequest.files, with background for FitOptions.background.
    world_from_camera: float32 [N, 4, 4], OpenCV axes, in the scene's own frame, wherever SceneRef moved it."""

    files: dict[str, str]
    world_from_camera: np.ndarray
    background: Literal["auto", "white", "black"] = "auto"
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class ScanBlob:
    """A partial scan. points: float32 [N, 3], metres, in the model's upright frame; normals: float32 [N, 3] outward, or
    None; origins: float32 [N, 3] where each point was seen from (free space in between), or None."""

    points: np.ndarray
    normals: np.ndarray | None = None
    origins: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class MeshBlob:
    """A mesh to learn. vertices: float32 [V, 3], metres, Z up; faces: int32 [F, 3]."""

    vertices: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True, eq=False)
class CodeBlob:
    """A latent as an array, so that a document can carry it. ws: float32 [num_ws, w_dim]. `Latent.code` is the sha256
    of these packed bytes."""

    ws: np.ndarray


PACKED: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ImageResult,
        SheetResult,
        MeshResult,
        LatentResult,
        ImageToShapeResult,
        ModelResult,
        FitResult,
        SfmResult,
        ViewsResult,
        ScanBlob,
        MeshBlob,
        CodeBlob,
    )
}


# -------------------------------------------------------------------------------------------------------------- service


@dataclass(frozen=True)
class Handshake:
    """The one line that the backend prints on stdout when its socket is open."""

    protocol: int
    version: str
    port: int
    token: str
    pid: int


@dataclass(frozen=True)
class ServerInfo:
    """Answer to HELLO."""

    protocol: int
    version: str
    pid: int
    device: str  # "cpu", "cuda:0", "mps"
    device_name: str
    torch_version: str
    memory_used: int  # bytes, of the process
    memory_total: int  # bytes, of the machine
    device_memory_used: int = 0
    device_memory_total: int = 0


@dataclass(frozen=True)
class BrokenModel:
    """A model folder that cannot be used, and why."""

    name: str
    error: ErrorInfo


@dataclass(frozen=True)
class StoredFit:
    """A fit that can go on: FitRequest(name, resume=True)."""

    name: str
    method: str
    steps: int
    seconds: float  # of fitting so far
    finished: bool  # it came to the end that was asked for; more seconds or steps take it further
    psnr: float | None = None  # of images held back, dB


@dataclass(frozen=True)
class ModelList:
    """Answer to MODELS."""

    models: tuple[ModelInfo, ...]
    broken: tuple[BrokenModel, ...] = ()
    fits: tuple[StoredFit, ...] = ()
    kinds: tuple[str, ...] = ()  # of official checkpoints that can be imported


@dataclass(frozen=True)
class Submitted:
    """Answer to a submission."""

    job: str


@dataclass(frozen=True)
class ErrorInfo:
    """An error as data: what `errors.error_to_dict` gives and `errors.error_from_dict` rebuilds."""

    code: str
    message: str
    remedy: Remedy | None = None


EVENT_KINDS = ("queued", "started", "progress", "done", "failed", "cancelled", "superseded")
TERMINAL_KINDS = ("done", "failed", "cancelled", "superseded")


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job. Each job has exactly one event of TERMINAL_KINDS, and it is the last."""

    sequence: int  # counts up over all jobs; ask for events after the last one seen
    job: str
    kind: Literal["queued", "started", "progress", "done", "failed", "cancelled", "superseded"]
    fraction: float = 0.0  # 0..1
    text: str = ""
    preview: str = ""  # sha256 of a packed SheetResult, or empty
    error: ErrorInfo | None = None
    figures: dict[str, float] = field(default_factory=dict)  # of a fit: step, loss, psnr (dB, images held back),
    # train_psnr (dB, of the batch), rays_per_second, seconds (of fitting so far), seconds_left


@dataclass(frozen=True)
class JobStatus:
    """A job as it stands."""

    job: str
    task: str
    kind: Literal["queued", "started", "progress", "done", "failed", "cancelled", "superseded"]
    fraction: float
    text: str
    submitted_at: float  # seconds since the epoch
    error: ErrorInfo | None = None
