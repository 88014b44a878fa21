"""A backend in a few lines of standard library: speaks the protocol, makes spheres, and misbehaves on request.

`make_root(folder)` lays out a folder in which `python -m backend serve` starts it. Seeds ask for trouble: HANG works
until it is cancelled, CRASH ends the process in the middle of the job, NO_SURFACE fails with a remedy.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import threading
import time
import urllib.parse
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from addon.link.client import error_from_info
from addon.wire import errors, messages, payload, routes

REPOSITORY = Path(__file__).resolve().parents[2]
HANG, CRASH, NO_SURFACE, SLOW = 1001, 1002, 1003, 1004
TOKEN = "t0ken"

SPHERE = messages.ModelInfo(
    name="sphere", label="Sphere", kind="fake", description="A sphere", licence="CC0-1.0", non_commercial=False,
    card="# Card\nA sphere of 0.5 m", z_dim=1, num_ws=2, w_dim=1, num_geometry_ws=1, num_parameters=1,
    has_truncation=True, has_surface=True, no_surface_reason="", has_color=True, quantity="sdf", iso_level=0.0,
    iso_range=(-0.1, 0.1), bounds=((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5)),
    pose_prior=messages.PosePrior(radius=2.0, fov=0.7), image_size=64,
    controls=(messages.Control("yaw", "Yaw", "Turns it", 0.1, -1.0, 1.0, "radians"),
              messages.Control("puff", "Puff", "Blows it up", 0.5, 0.0, 2.0)),
    capabilities=("complete", "image_to_shape"), source="starter",
)  # fmt: skip
FLAT = replace(
    SPHERE, name="flat", label="Flat", non_commercial=True, licence="Research only", has_surface=False, controls=(),
    no_surface_reason="This model has pictures only", capabilities=(), num_geometry_ws=2,
)  # fmt: skip

FIELD = replace(
    SPHERE, name="field", label="Field", kind="hash_field", z_dim=0, num_ws=0, w_dim=0, num_geometry_ws=0,
    has_truncation=False, quantity="density", iso_level=20.0, iso_range=(0.2, 200.0),
    bounds=((-1.0, -2.0, 0.0), (1.0, 2.0, 3.0)), controls=(), capabilities=(), source="trained",
)  # fmt: skip
FACE = replace(
    SPHERE, name="face", label="Face", kind="fakegan", num_ws=6, num_geometry_ws=4, w_dim=8, quantity="density",
    iso_level=10.0, iso_range=(1.0, 100.0), pose_conditioned=True, capabilities=(), source="imported",
    pose_prior=messages.PosePrior(2.7, 0.3, (-0.5, 0.5), (-0.3, 0.3), 0.0, 0.1),
    controls=(messages.Control("lock_view", "Lock View", "Colours as from in front", 0.0, 0.0, 1.0, "switch"),
              messages.Control("background", "Background", "Which one", 2.0, 0.0, 9.0, "integer")),
)  # fmt: skip
CAR = replace(
    FACE, name="car", label="Car", pose_conditioned=False, controls=(), code_names=("Shape", "Texture"),
    capabilities=("transfer_texture",),
)  # fmt: skip
TRAINABLE = (
    messages.Trainable("fakegan", "Fake GAN", "A generator of faces.", ("small", "published"), True),
    messages.Trainable("other", "Other GAN", "Another generator.", ("tiny",)),
)
POSES = np.stack([np.eye(4, dtype=np.float32)] * 2)
POSES[:, :3, 3] = (0, 0, -3), (0, 1, -3)


def sphere_mesh(rings: int, color: str = "vertex") -> messages.MeshResult:
    """Return a closed sphere of radius 0.5 with about 4 rings² faces."""
    theta = np.linspace(0, np.pi, rings + 1)[1:-1]
    phi = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    x, y, z = np.broadcast_arrays(
        np.sin(theta)[:, None] * np.cos(phi), np.sin(theta)[:, None] * np.sin(phi), np.cos(theta)[:, None]
    )
    ring = np.stack((x, y, z), -1).reshape(-1, 3)
    points = np.concatenate((ring, [[0, 0, 1], [0, 0, -1]])).astype(np.float32)
    n, rows = len(phi), len(theta)
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(n), indexing="ij")
    a, b = (i * n + j).ravel(), (i * n + (j + 1) % n).ravel()
    c, d = a + n, b + n
    k = np.arange(n)
    top = np.stack((np.full(n, rows * n), k, (k + 1) % n), -1)
    last = (rows - 1) * n
    bottom = np.stack((np.full(n, rows * n + 1), last + (k + 1) % n, last + k), -1)
    faces = np.concatenate((np.stack((a, c, d), -1), np.stack((a, d, b), -1), top, bottom)).astype(np.int32)
    colors = uvs = texture = None
    if color == "vertex":
        colors = np.full((len(points), 4), (255, 128, 0, 255), np.uint8)
    elif color == "texture":
        corner = points[faces]
        uvs = (corner[..., :2] * 0.5 + 0.5).astype(np.float32)
        texture = np.zeros((32, 32, 4), np.uint8)
        texture[:16] = (255, 0, 0, 255)
        texture[16:] = (0, 0, 255, 255)
    return messages.MeshResult(points / 2, faces, points, colors, uvs, texture, 0.0, "Sphere", 0.1)


def color_of(*what: Any) -> np.ndarray:
    """Return the colour uint8 [3] that stands for what is rendered: another for anything that differs."""
    return np.frombuffer(hashlib.sha256(repr(what).encode()).digest()[:3], np.uint8)


def image(request: messages.RenderRequest) -> messages.ImageResult:
    """Return an image in a colour of what is rendered, whose top row is red, whose bottom row is blue, with alpha 0 in
    the left column."""
    height, width = request.camera.height, request.camera.width
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = color_of(request.scene, request.camera) / np.float32(255)
    rgba[0], rgba[-1] = (1, 0, 0, 1), (0, 0, 1, 1)
    rgba[:, 0, 3] = 0
    depth = np.full((height, width), np.inf, np.float32)
    depth[height // 2 :] = 2.0
    normal = np.zeros((height, width, 3), np.float32) if request.with_normal else None
    note = "Turned into the model's range" if request.camera.width == 48 else ""
    return messages.ImageResult(rgba, depth, normal, 0.01, note)


class State:
    """Jobs, events and blobs."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self.events: list[messages.JobEvent] = []
        self.results: dict[str, Any] = {}
        self.keys: dict[str, str] = {}
        self.blobs: dict[str, bytes] = {}
        self.cancelled: set[str] = set()
        self.ended: set[str] = set()
        self.requests: list[Any] = []
        self.models = [SPHERE, FLAT]
        self.fits: dict[str, messages.StoredFit] = {}
        self.trainings: dict[str, messages.StoredTraining] = {}

    def tell(
        self,
        job: str,
        kind: str,
        fraction: float = 0.0,
        error: errors.LatheError | None = None,
        preview: str = "",
        figures: dict[str, float] | None = None,
    ) -> None:
        with self.lock:
            if job in self.ended:
                return
            if kind in messages.TERMINAL_KINDS:
                self.ended.add(job)
            info = error and messages.ErrorInfo(error.code, error.message, error.remedy)
            self.events.append(
                messages.JobEvent(
                    len(self.events) + 1, job, kind, fraction, f"step {fraction:g}", preview, info, figures or {}
                )
            )
            self.lock.notify_all()

    def keep(self, data: bytes) -> str:
        name = hashlib.sha256(data).hexdigest()
        self.blobs[name] = data
        return name

    def submit(self, request: Any, key: str) -> str:
        with self.lock:
            self.requests.append(request)
            job = f"{len(self.requests):032x}"
            old = self.keys.get(key) if key else None
            if key:
                self.keys[key] = job
        if old:
            self.tell(old, "superseded")
            self.cancelled.add(old)
        self.tell(job, "queued")
        threading.Thread(target=self.work, args=(job, request), daemon=True).start()
        return job

    def work(self, job: str, request: Any) -> None:
        scene = getattr(request, "scene", None)
        seed = scene.latent.seed_a if scene else 0
        self.tell(job, "started")
        try:
            if isinstance(request, messages.FitRequest):
                self.fit(job, request)
                return
            if isinstance(request, messages.TrainRequest):
                self.train(job, request)
                return
            if isinstance(request, messages.DiscardTrainingRequest):
                del self.trainings[request.name]
            if isinstance(request, messages.DiscardFitRequest):
                del self.fits[request.name]
            if isinstance(request, messages.ImportRequest):
                self.check_import(request)
            picture = getattr(request, "picture", "")
            if picture and self.blobs[picture][:4] != b"\x89PNG":
                raise errors.UnreadableFile("The picture cannot be read")
        except errors.LatheError as error:
            self.tell(job, "failed", error=error)
            return
        if isinstance(request, messages.InvertRequest):
            sheet = np.full((2, 8, 8, 4), 255, np.uint8)
            self.tell(job, "progress", 0.3, preview=self.keep(payload.pack(messages.SheetResult(sheet))))
            while request.options.seed == HANG and job not in self.cancelled:
                time.sleep(0.01)
        self.tell(job, "progress", 0.5)
        if seed == CRASH:
            os.kill(os.getpid(), signal.SIGKILL)
        while seed == HANG and job not in self.cancelled:
            time.sleep(0.01)
        if seed == SLOW:
            time.sleep(0.3)
        if job in self.cancelled:
            self.tell(job, "cancelled")
            return
        if seed == NO_SURFACE:
            remedy = errors.Remedy("set_level", "Set the level to 0.02", 0.02)
            self.tell(job, "failed", error=errors.NoSurface("Nothing to mesh at this level", remedy=remedy))
            return
        self.results[job] = self.answer(request)
        self.tell(job, "done", 1.0)

    def invert(self, request: messages.InvertRequest) -> messages.InvertResult:
        ws = np.ones((2, 1), np.float32)
        code = hashlib.sha256(payload.pack(messages.CodeBlob(ws))).hexdigest()
        seen, made = np.full((8, 8, 3), 200, np.uint8), np.full((8, 8, 3), 100, np.uint8)
        model = request.name or request.model
        if request.name:
            parent = next(m for m in self.models if m.name == request.model)
            self.models.append(replace(parent, name=request.name, label=request.name))
        assert request.view is not None
        view = (request.view[0] + 0.25, request.view[1] - 0.125)
        return messages.InvertResult(ws, code, model, view, seen, made, 31.5, 24.0, ("Its middle was used",))

    def model_list(self) -> messages.ModelList:
        return messages.ModelList(
            tuple(self.models), fits=tuple(self.fits.values()), kinds=("fakegan", "other"), trainings=TRAINABLE,
            stored_trainings=tuple(self.trainings.values()),
        )  # fmt: skip

    def check_import(self, request: messages.ImportRequest) -> None:
        """Refuse files that begin with "bad", unless their kind is given."""
        for name, sha256 in request.files.items():
            if self.blobs[sha256].startswith(b"bad") and not request.kind:
                remedy = errors.Remedy("choose_kind", "Say which kind it is")
                raise errors.UnknownCheckpoint(f"{name} is of an unknown architecture", remedy=remedy)

    def fit(self, job: str, request: messages.FitRequest) -> None:
        """Fit: a name that begins with "hang" until it is cancelled, one with "crash" into the end of the process."""
        before = self.fits.get(request.name)
        if request.resume and before is None:
            raise errors.InvalidRequest(f"There is no fit named {request.name!r} to go on with")
        missing = [name for name, sha256 in request.files.items() if sha256 not in self.blobs]
        if missing:
            raise errors.BlobMissing(f"{missing[0]} was not uploaded")
        picture = self.keep(payload.pack(messages.SheetResult(np.full((1, 4, 6, 4), 128, np.uint8))))
        figures = {"step": 10.0, "loss": 0.01, "psnr": 25.0, "rays_per_second": 1e5, "seconds_left": 61.0}
        self.models = [m for m in self.models if m.name != request.name]
        self.models.append(replace(FIELD, name=request.name, label=request.name))
        self.tell(job, "progress", 0.3, preview=picture, figures=figures)
        if request.name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        steps = before.steps if before else 0
        while request.name.startswith("hang") and not request.resume and job not in self.cancelled:
            time.sleep(0.01)
        finished = job not in self.cancelled
        longer = request.options.seconds or 2.0
        self.fits[request.name] = messages.StoredFit(request.name, "hash", steps + 10, longer, finished, 25.0)
        if not finished:
            self.tell(job, "cancelled")
            return
        time.sleep(0.1)
        names = ("./images/a.png", "./images/b.png")
        self.results[job] = messages.FitResult(
            request.name, steps + 10, POSES + 0.1, names, 25.0, 0.9, longer, ("The pictures are dark",)
        )
        self.tell(job, "done", 1.0)

    def train(self, job: str, request: messages.TrainRequest) -> None:
        """Train: a name that begins with "hang" until it is cancelled."""
        before = self.trainings.get(request.name)
        if request.resume and before is None:
            raise errors.InvalidRequest(f"There is no training named {request.name!r} to continue")
        missing = [name for name, sha256 in request.files.items() if sha256 not in self.blobs]
        if missing:
            raise errors.BlobMissing(f"{missing[0]} was not uploaded")
        sheet = np.full((2, 4, 6, 4), 255, np.uint8)
        sheet[0, ..., 0], sheet[1, ..., 2] = 128, 64
        self.models = [m for m in self.models if m.name != request.name]
        self.models.append(replace(FACE, name=request.name, label=request.name, source="trained", controls=()))
        figures = {"step": 10.0, "steps": 40.0, "seconds_left": 3720.0, "loss_d": 0.5, "loss_g": 1.25, "penalty": 9.0}
        preview = self.keep(payload.pack(messages.SheetResult(sheet)))
        self.tell(job, "progress", 0.3, preview=preview, figures=figures)
        while request.name.startswith("hang") and not request.resume and job not in self.cancelled:
            time.sleep(0.01)
        finished, model = job not in self.cancelled, before.model if before else request.model
        steps = (before.steps if before else 0) + 10
        self.trainings[request.name] = messages.StoredTraining(request.name, model, steps, 40, 3600.0, finished)
        if not finished:
            self.tell(job, "cancelled")
            return
        time.sleep(0.1)
        self.results[job] = messages.TrainResult(request.name, steps, 3600.0, ("64 images used",))
        self.tell(job, "done", 1.0)

    def answer(self, request: Any) -> Any:
        if isinstance(request, messages.SfmRequest):
            text = json.dumps({"frames": [{"file_path": f"images/{name}"} for name in request.files]})
            files = {f"images/{name}": sha256 for name, sha256 in request.files.items()}
            report = {"posed": 2, "images": 3, "points": 4, "mean_reprojection_error": 0.5, "advice": ["Take more"]}
            return messages.SfmResult(
                tuple(request.files)[:2], POSES, np.array([[[50, 0, 30], [0, 50, 20], [0, 0, 1]]] * 2, np.float32),
                np.array([[60, 40]] * 2, np.int32), np.eye(4, 3, dtype=np.float32),
                np.full((4, 3), 255, np.uint8), text, json.dumps(report),
                files | {"transforms.json": self.keep(text.encode())},
            )  # fmt: skip
        if isinstance(request, messages.DiscardFitRequest | messages.DiscardTrainingRequest):
            return messages.ModelResult(request.name)
        if isinstance(request, messages.RenderRequest):
            return image(request)
        if isinstance(request, messages.GenerateRequest):
            images = np.full((len(request.latents), request.size, request.size, 4), 255, np.uint8)
            for picture, latent in zip(images, request.latents):
                picture[..., :3] = color_of(latent, request.controls, request.camera)
            return messages.SheetResult(images)
        if isinstance(request, messages.MeshRequest):
            return sphere_mesh(request.resolution, request.color)
        if isinstance(request, messages.CompleteRequest):
            ws = np.ones((2, 1), np.float32)
            code = hashlib.sha256(payload.pack(messages.CodeBlob(ws))).hexdigest()
            return messages.LatentResult(ws, code, 0.01)
        if isinstance(request, messages.ImageToShapeRequest | messages.TransferTextureRequest):
            ws = np.ones((2, 1), np.float32)
            code = hashlib.sha256(payload.pack(messages.CodeBlob(ws))).hexdigest()
            seen = np.full((8, 8, 3), 200, np.uint8)
            return messages.ImageToShapeResult(ws, code, seen, ("Its alpha was taken as the mask",))
        if isinstance(request, messages.InvertRequest):
            return self.invert(request)
        if isinstance(request, messages.ViewsRequest):
            names = [f"images/{number:04d}.png" for number in range(request.count)]
            files = {name: self.keep(name.encode()) for name in (*names, "transforms.json")}
            return messages.ViewsResult(files, POSES, "black")
        if isinstance(request, messages.TrainingSetRequest):
            return messages.TrainingSetResult(request.objects * request.views, 1)
        if isinstance(request, messages.ImportRequest):
            self.models.append(replace(FACE, name=request.name, label=request.label or request.name))
            return messages.ModelResult(request.name)
        blob = payload.unpack(self.blobs[request.blob])
        assert isinstance(blob, messages.MeshBlob)
        self.models.append(replace(SPHERE, name=request.name, label=request.name, capabilities=()))
        return messages.ModelResult(request.name)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    state: State
    protocol = messages.PROTOCOL_VERSION

    def log_message(self, *_: Any) -> None:
        pass

    def handle_one(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = {key: values[0] for key, values in urllib.parse.parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                raise errors.Unauthorized("Wrong token")
            status, answer = self.route(self.command, url.path, query, body)
        except errors.LatheError as error:
            status, answer = error.http_status, json.dumps(errors.error_to_dict(error)).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_POST = do_PUT = do_HEAD = handle_one

    def route(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, bytes]:
        state = self.state
        if path == routes.HELLO:
            info = messages.ServerInfo(self.protocol, "9", os.getpid(), "cpu", "Fake CPU", "0", 1 << 30, 8 << 30)
            return 200, payload.to_json(info)
        if path == routes.MODELS:
            return 200, payload.to_json(state.model_list())
        if path.startswith(routes.TASKS):
            kind = messages.REQUESTS[path.rpartition("/")[2]]
            job = state.submit(payload.from_json(kind, body), query.get(routes.SUPERSEDE_PARAMETER, ""))
            return 200, payload.to_json(messages.Submitted(job))
        if path == routes.EVENTS:
            return 200, payload.to_json(self.events(query))
        if path.endswith(routes.CANCEL):
            job = path.split("/")[-2]
            state.cancelled.add(job)
            return 200, b"{}"
        if path.endswith(routes.RESULT):
            return self.result(path.split("/")[-2], float(query.get(routes.WAIT_PARAMETER, "0")))
        if path.startswith(routes.BLOBS):
            return self.blob(method, path.rpartition("/")[2], body)
        if path == routes.SHUTDOWN:
            threading.Timer(0.05, os._exit, (0,)).start()
            return 204, b""
        return 404, b"{}"

    def events(self, query: dict[str, str]) -> list[messages.JobEvent]:
        state = self.state
        after, job = int(query[routes.AFTER_PARAMETER]), query.get(routes.JOB_PARAMETER)
        deadline = time.monotonic() + float(query[routes.WAIT_PARAMETER])
        with state.lock:
            while True:
                found = [e for e in state.events if e.sequence > after and (job is None or e.job == job)]
                if found or time.monotonic() > deadline:
                    return found
                state.lock.wait(0.05)

    def result(self, job: str, wait: float) -> tuple[int, bytes]:
        state, deadline = self.state, time.monotonic() + wait
        with state.lock:
            while True:
                ends = [e for e in state.events if e.job == job and e.kind in messages.TERMINAL_KINDS]
                if ends or time.monotonic() > deadline:
                    break
                state.lock.wait(0.05)
        if not ends:
            return 202, b"{}"
        if ends[0].kind == "done":
            return 200, payload.pack(state.results[job])
        raise error_from_info(ends[0].error) if ends[0].error else errors.Cancelled()

    def blob(self, method: str, name: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT":
            assert hashlib.sha256(body).hexdigest() == name
            self.state.blobs[name] = body
            return 201, b""
        if name not in self.state.blobs:
            raise errors.BlobMissing("Not here")
        return 200, self.state.blobs[name]


def start_server(protocol: int = messages.PROTOCOL_VERSION) -> tuple[ThreadingHTTPServer, State]:
    """Start a server on a thread; `.server_address[1]` is its port, `.shutdown()` ends it."""
    state = State()
    handler = type("BoundHandler", (Handler,), {"state": state, "protocol": protocol})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server, state


def make_root(folder: Path, main: str = "from tests.addon.fake_backend import serve; serve()") -> Path:
    """Lay out a folder whose `python -m backend` runs `main`, and return it."""
    package = folder / "backend"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text(f"import sys; sys.path.insert(0, {str(REPOSITORY)!r})\n{main}\n")
    return folder


def serve() -> None:
    """Run as the child: handshake on stdout, then serve until stdin ends."""
    server, _ = start_server()
    handshake = messages.Handshake(messages.PROTOCOL_VERSION, "9", server.server_address[1], TOKEN, os.getpid())
    sys.stdout.write(payload.to_json(handshake).decode() + "\n")
    sys.stdout.flush()
    sys.stdin.read()
