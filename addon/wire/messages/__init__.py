"""Requests and results: frozen dataclasses, one file a family of tasks.

Vocabulary. A *request* is pure JSON; its arrays (a scan, a mesh) are uploaded first as blobs and named by sha256. A
*result* contains arrays and is sent as safetensors bytes (`payload.pack`). Frames and units: the world is
right-handed, Z up, metres; cameras are `world_from_camera` with OpenCV axes (x right, y down, z forward) and intrinsics
in pixels with centres at +0.5; images are [height, width, channels], top row first, float32. Radians, but for
options that say degrees.

Each dataclass checks its ranges when it is built (`options.py`, `checks.py`), so that neither side can make an invalid
request.
"""

from __future__ import annotations

from ..checks import MAX_FILE_NAME, MAX_FILES, MAX_IMAGE_SIDE, MAX_NUMBER, MAX_RESOLUTION, MAX_SEED
from .common import IDENTITY4, PROTOCOL_VERSION, Bounds, Matrix3, Matrix4, Row3, Row4
from .fit import DiscardFitRequest, FitOptions, FitRequest, FitResult
from .image import ImageToShapeRequest, ImageToShapeResult, TransferTextureRequest
from .import_checkpoint import ImportRequest
from .inversion import InversionOptions, InvertRequest, InvertResult
from .jobs import EVENT_KINDS, TERMINAL_KINDS, JobEvent, JobStatus, Submitted
from .latent import MAX_ROWS, MAX_STRENGTH, CodeBlob, Direction, Latent, StoredRow
from .mesh import MeshRequest, MeshResult
from .models import BrokenModel, Control, ModelInfo, ModelList, ModelResult, PosePrior, StoredFit
from .render import GenerateRequest, ImageResult, RenderRequest, SheetResult
from .scene import PINHOLE, Camera, Lens, SceneRef
from .service import ErrorInfo, Handshake, ServerInfo
from .sfm import SfmRequest, SfmResult
from .shape import CompleteRequest, FitShapeRequest, LatentResult, MeshBlob, ScanBlob
from .tasks import PACKED, REQUESTS, Request
from .train import DiscardTrainingRequest, StoredTraining, Trainable, TrainOptions, TrainRequest, TrainResult
from .training_set import TrainingSetRequest, TrainingSetResult
from .views import ViewsRequest, ViewsResult

__all__ = [
    "EVENT_KINDS",
    "IDENTITY4",
    "MAX_FILES",
    "MAX_FILE_NAME",
    "MAX_IMAGE_SIDE",
    "MAX_NUMBER",
    "MAX_RESOLUTION",
    "MAX_ROWS",
    "MAX_SEED",
    "MAX_STRENGTH",
    "PACKED",
    "PINHOLE",
    "PROTOCOL_VERSION",
    "REQUESTS",
    "TERMINAL_KINDS",
    "Bounds",
    "BrokenModel",
    "Camera",
    "CodeBlob",
    "CompleteRequest",
    "Control",
    "Direction",
    "DiscardFitRequest",
    "DiscardTrainingRequest",
    "ErrorInfo",
    "FitOptions",
    "FitRequest",
    "FitResult",
    "FitShapeRequest",
    "GenerateRequest",
    "Handshake",
    "ImageResult",
    "ImageToShapeRequest",
    "ImageToShapeResult",
    "ImportRequest",
    "InversionOptions",
    "InvertRequest",
    "InvertResult",
    "JobEvent",
    "JobStatus",
    "Latent",
    "LatentResult",
    "Lens",
    "Matrix3",
    "Matrix4",
    "MeshBlob",
    "MeshRequest",
    "MeshResult",
    "ModelInfo",
    "ModelList",
    "ModelResult",
    "PosePrior",
    "RenderRequest",
    "Request",
    "Row3",
    "Row4",
    "ScanBlob",
    "SceneRef",
    "ServerInfo",
    "SfmRequest",
    "SfmResult",
    "SheetResult",
    "StoredFit",
    "StoredRow",
    "StoredTraining",
    "Submitted",
    "TrainOptions",
    "TrainRequest",
    "TrainResult",
    "Trainable",
    "TrainingSetRequest",
    "TrainingSetResult",
    "TransferTextureRequest",
    "ViewsRequest",
    "ViewsResult",
]
