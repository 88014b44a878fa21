"""Table of tasks by name, and of messages that carry arrays."""

from __future__ import annotations

from .fit import DiscardFitRequest, FitRequest, FitResult
from .image import ImageToShapeRequest, ImageToShapeResult, TransferTextureRequest
from .import_checkpoint import ImportRequest
from .inversion import InvertRequest, InvertResult
from .latent import CodeBlob
from .mesh import MeshRequest, MeshResult
from .models import ModelResult
from .render import GenerateRequest, ImageResult, RenderRequest, SheetResult
from .sfm import SfmRequest, SfmResult
from .shape import CompleteRequest, FitShapeRequest, LatentResult, MeshBlob, ScanBlob
from .train import DiscardTrainingRequest, TrainRequest, TrainResult
from .training_set import TrainingSetRequest, TrainingSetResult
from .views import ViewsRequest, ViewsResult

Request = (
    RenderRequest
    | GenerateRequest
    | MeshRequest
    | CompleteRequest
    | FitShapeRequest
    | ImageToShapeRequest
    | TransferTextureRequest
    | InvertRequest
    | FitRequest
    | DiscardFitRequest
    | SfmRequest
    | ViewsRequest
    | TrainingSetRequest
    | ImportRequest
    | TrainRequest
    | DiscardTrainingRequest
)

REQUESTS: dict[str, type] = {
    "render": RenderRequest,
    "generate": GenerateRequest,
    "mesh": MeshRequest,
    "complete": CompleteRequest,
    "fit_shape": FitShapeRequest,
    "image_to_shape": ImageToShapeRequest,
    "transfer_texture": TransferTextureRequest,
    "invert": InvertRequest,
    "fit": FitRequest,
    "discard_fit": DiscardFitRequest,
    "sfm": SfmRequest,
    "views": ViewsRequest,
    "training_set": TrainingSetRequest,
    "import_checkpoint": ImportRequest,
    "train": TrainRequest,
    "discard_training": DiscardTrainingRequest,
}

PACKED: dict[str, type] = {
    kind.__name__: kind
    for kind in (
        ImageResult,
        SheetResult,
        MeshResult,
        LatentResult,
        ImageToShapeResult,
        InvertResult,
        ModelResult,
        FitResult,
        SfmResult,
        ViewsResult,
        TrainingSetResult,
        TrainResult,
        ScanBlob,
        MeshBlob,
        CodeBlob,
    )
}
