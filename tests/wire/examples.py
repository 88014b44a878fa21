"""One of each message, with every optional field set."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from addon.wire import messages as m
from addon.wire.errors import Remedy

SHA = "0123456789abcdef" * 4
CAMERA = m.Camera(m.IDENTITY4, ((100.0, 0.0, 32.0), (0.0, 100.0, 24.0), (0.0, 0.0, 1.0)), 64, 48, "orthographic")
LATENT = m.Latent(
    1, 2, 0.25, 0.75, 0.7, SHA, style_mix=(0, 3), condition=(0.1, -0.2), code_b=SHA[::-1],
    rows=(m.StoredRow(2, SHA),), directions=(m.Direction(SHA[::-1], -1.5, (0, 1)), m.Direction(SHA)),
)  # fmt: skip
SCENE = m.SceneRef("chairs.v1", LATENT, {"light": 0.5}, ((2.0, 0.0, 0.0, 1.0), (0.0, 2.0, 0.0, 1.0), (0.0, 0.0, 2.0, 1.0), (0.0, 0.0, 0.0, 1.0)), ((-1.0, -1.0, 0.0), (1.0, 1.0, 2.0)))  # fmt: skip  # noqa: E501
INFO = m.ModelInfo(
    "chairs", "Chairs", "deepsdf", "Über chairs", "CC0-1.0", True, "# card\n", 64, 1, 64, 1, 440_000, True, True, "",
    False, "sdf", 0.0, (-0.1, 0.1), ((-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)), m.PosePrior(3.0, 0.6), 256,
    controls=(m.Control("light", "Light", "Angle", 0.0, -1.0, 1.0, "radians"),), capabilities=("complete",),
    code_names=("Shape", "Texture"),
)  # fmt: skip
ERROR = m.ErrorInfo("out_of_memory", "too little", Remedy("lower_resolution", "Use 256", 256.0))

JSON: tuple[Any, ...] = (
    m.RenderRequest(SCENE, CAMERA, "draft", 12, True),
    m.GenerateRequest("chairs", (LATENT, m.Latent()), 64, CAMERA, {"light": 0.5}, "draft"),
    m.MeshRequest(SCENE, 256, 0.01, 5000, 0.1, False, False, "texture", 512, 20),
    m.CompleteRequest("chairs", SHA, 100, 3),
    m.FitShapeRequest("mine", SHA, 10, "official", 4),
    m.ImageToShapeRequest("chairs", SHA),
    m.TransferTextureRequest("chairs", LATENT, SHA),
    m.InvertRequest(
        "chairs",
        SHA,
        SHA[::-1],
        (1, 2, 30, 40),
        (0.5, -0.2),
        "mine",
        m.InversionOptions(100, 20, 0.01, False, False, 8, 3),
    ),
    m.FitRequest(
        "chair",
        {"transforms.json": SHA, "images/a b.png": SHA},
        m.FitOptions(
            "nerf", "fine", 2.0, 3, "white", "linear", "yes", "color", 0.1, 0.2, 0.3, False, True, 0.4, True, 5
        ),
        False,
        CAMERA,
    ),
    m.FitRequest("chair", resume=True),
    m.DiscardFitRequest("chair"),
    m.SfmRequest({"a.jpg": SHA}, 800, 50),
    m.ViewsRequest(SCENE, 40, 128, 3),
    m.TrainingSetRequest("/data/chairs", "animals", 10, 4, 64, 3, 0.0, 30.0, 90.0),
    m.ImportRequest("faces", {"faces.pkl": SHA}, "eg3d", "Faces"),
    m.TrainRequest("chairs", "eg3d", "small", {"transforms.json": SHA}, m.TrainOptions(1.5, 20, "r3gan", 8, 3), False),
    m.TrainRequest("chairs", options=m.TrainOptions(hours=3.0), resume=True),
    m.DiscardTrainingRequest("chairs"),
    m.Handshake(1, "0.1.0", 40000, "token", 7),
    m.ServerInfo(1, "0.1.0", 7, "cpu", "CPU", "2.13", 1, 2, 3, 4),
    m.Submitted("a" * 32),
    m.JobEvent(2**50, "a" * 32, "failed", 0.5, "text", SHA, ERROR, {"loss": 0.5}),
    m.JobStatus("a" * 32, "mesh", "progress", 0.5, "text", 1.5, ERROR),
    m.ModelList(
        (INFO,),
        (m.BrokenModel("broken", ERROR),),
        (m.StoredFit("chair", "hash", 7, 1.5, False, 30.0),),
        ("eg3d",),
        (m.Trainable("eg3d", "EG3D", "Triplanes.", ("small", "published"), True),),
        (m.StoredTraining("chairs", "eg3d", 20, 40, 1.5, False),),
    ),
    m.ErrorInfo("cancelled", "Cancelled"),
)


def arrays() -> tuple[Any, ...]:
    """One of each packed message, with every array and with the optional ones left out."""
    random = np.random.default_rng(0)
    vertices, faces = random.random((5, 3), np.float32), random.integers(0, 5, (4, 3), np.int32)
    full = (
        m.ImageResult(random.random((3, 4, 4), np.float32), np.full((3, 4), np.inf, np.float32),
                      random.random((3, 4, 3), np.float32), 0.5, "from the side"),
        m.ImageToShapeResult(random.random((1, 64), np.float32), SHA,
                             random.integers(0, 255, (4, 4, 3), np.uint8), ("It was padded.",), 0.5),
        m.InvertResult(random.random((6, 8), np.float32), SHA, "mine", (0.5, -0.2),
                       random.integers(0, 255, (4, 4, 3), np.uint8), random.integers(0, 255, (4, 4, 3), np.uint8),
                       31.5, 24.25, ("It was cropped.",), 0.5),
        m.SheetResult(random.integers(0, 255, (2, 3, 4, 4), np.uint8), 0.5),
        m.MeshResult(vertices, faces, vertices, random.integers(0, 255, (5, 4), np.uint8),
                     random.random((4, 3, 2), np.float32), random.integers(0, 255, (8, 8, 4), np.uint8),
                     0.1, "Größe", 1.0),
        m.LatentResult(random.random((1, 64), np.float32), SHA, 0.01, 1.0),
        m.ModelResult("mine", 1.0),
        m.FitResult("chair", 7, random.random((2, 4, 4), np.float32), ("a.png", "b.png"), 30.0, 0.9, 1.0, ("blurred",)),
        m.SfmResult(("a.jpg",), random.random((1, 4, 4), np.float32), random.random((1, 3, 3), np.float32),
                    np.array([[4, 3]], np.int32), vertices, random.integers(0, 255, (5, 3), np.uint8), "{}", "{}",
                    {"a.jpg": SHA}, 1.0),
        m.ViewsResult({"transforms.json": SHA}, random.random((2, 4, 4), np.float32), "white", 1.0),
        m.TrainingSetResult(80, 8, 1.0),
        m.TrainResult("chairs", 20, 1.5, ("64 images",)),
        m.ScanBlob(vertices, vertices, vertices),
        m.MeshBlob(vertices, faces),
        m.CodeBlob(random.random((1, 64), np.float32)),
    )  # fmt: skip
    bare = (
        m.ImageResult(full[0].rgba, full[0].depth),
        m.MeshResult(vertices, faces),
        m.MeshResult(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)),
        m.ScanBlob(vertices),
        m.FitResult("chair", 0, np.zeros((0, 4, 4), np.float32)),
    )
    return full + bare


def same(first: Any, second: Any) -> bool:
    """Whether two messages are equal, arrays bit by bit."""
    if type(first) is not type(second):
        return False
    for field in dataclasses.fields(first):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
            if b is None or a is None or a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes():
                return False
        elif a != b:
            return False
    return True
