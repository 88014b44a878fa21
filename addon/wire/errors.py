"""The tree of errors that both sides share, and the register of remedies.

    LatheError
     x Cancelled                 the user or a newer request ended the work (not a failure)
     x WireError                 the two sides do not understand each other
       + MalformedPayload        bytes that are not a valid message
       + ProtocolMismatch        add-on and backend are of different versions
     x BackendError              the backend process failed
       + BackendUnavailable      nothing answers, or not a Latent Lathe backend
       + BackendDied             it ended while it had work
       + Unauthorized            wrong token, Host or Origin
       + SetUpFailed             the environment could not be installed
     x RequestError              the request is invalid
       + InvalidRequest          a field out of range
       + UnknownModel            no model of this name
       + UnknownJob              no job of this id
       + BlobMissing             a request names an upload that the backend does not have
       + ResultGone              the result of that job is no longer kept
       + TooLarge                above a size limit
     x TaskError                 a valid request that failed
       + OutOfMemory             too little memory for this size
       + NoSurface               the field has no surface at this level
       + NotSupported            this model cannot do that
       + UnreadableModel         a model folder that was edited or is damaged
       + UnreadableFile          an image, mesh or other input that cannot be read
       + UnusableDataset         images or cameras that a scene cannot be fitted to
       + CannotWrite             no disk space or no permission
       + UnknownCheckpoint       a checkpoint of an unknown architecture
       + UnsafeCheckpoint        a checkpoint that tries to run code or misstates its sizes
       + Diverged                a training or fit that became NaN
       + InternalError           a bug; the log has the traceback

Every error carries a sentence for the user and, often a remedy as data, which the panel shows as a button.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

Action = Literal[
    # the backend and its environment
    "set_up",  # install the environment, or install it again
    "restart_backend",
    "update_addon",  # show where extensions are updated
    "update_backend",
    "doctor",  # check the environment
    "open_log",
    "open_folder",  # value: path
    "choose_python",
    "any_port",  # let the system choose the port
    "allow_online",  # show Blender's setting
    "use_auto_device",
    "use_cpu_build",  # of PyTorch
    # models
    "refresh_models",
    "choose_model",
    "choose_kind",  # import again, with the architecture given by the user
    "import_again",
    "download_again",  # import again, from another file
    "choose_name",  # take a name that no model has
    # any request
    "retry",  # the job that failed last
    "upload_again",  # the same, with its files. value: sha256
    "set_value",  # move an option into its range. value: name of the option
    "lower_resolution",  # value: pixels or cells
    "reset_control",  # value: name of the control
    # meshes
    "raise_resolution",  # value: cells
    "set_resolution",  # value: cells
    "set_level",  # value: level of the surface
    "lower_target_faces",  # value: faces
    "set_texture_size",  # value: pixels
    "set_format",  # value: "glb", "obj", "ply" or "usd"
    "choose_folder",
    "fit_views",  # fit a radiance field to rendered views of the model
    # radiance fields
    "add_camera",
    "run_sfm",
    "flip_axes",
    "ignore_masks",
    "use_preset",  # value: FitOptions.preset
    "restart_fit",  # value: name
    "resume_fit",  # value: name
    "reset_crop",
    # trainings
    "restart_training",  # value: name
    "resume_training",  # value: name
]
"""The register of remedies: each is raised somewhere, and each has a button in the add-on that does it."""

ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Remedy:
    """A one-click fix that goes with an error, as data for a button."""

    action: Action
    label: str = ""  # text of the button
    value: float | str | None = None  # argument of the action


MAX_SENTENCE = 2000  # characters of a message


def printable(text: str) -> str:
    """Return a text that may hold names from elsewhere so that a terminal, a panel and a log show it as one line:
    control characters as \\x1b, at most MAX_SENTENCE characters."""
    if len(text) > MAX_SENTENCE:
        text = f"{text[: MAX_SENTENCE - 100]} … {text[-90:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class LatheError(Exception):
    """Root of the tree. `code` is stable and goes over the wire; `message` is one sentence for the user."""

    code: ClassVar[str] = "error"
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, remedy: Remedy | None = None) -> None:
        super().__init__(printable(message))
        self.message = printable(message)
        self.remedy = remedy


class Cancelled(LatheError):
    """The user, or a newer request, ended the work."""

    code = "cancelled"
    http_status = 409

    def __init__(self, message: str = "Cancelled", *, remedy: Remedy | None = None) -> None:
        super().__init__(message, remedy=remedy)


class WireError(LatheError):
    """The two sides do not understand each other."""

    code = "wire"
    http_status = 400


class MalformedPayload(WireError):
    """Bytes that are not a valid message."""

    code = "malformed_payload"


class ProtocolMismatch(WireError):
    """Add-on and backend have different protocol versions."""

    code = "protocol_mismatch"
    http_status = 426


class BackendError(LatheError):
    """The backend process failed."""

    code = "backend"


class BackendUnavailable(BackendError):
    """Nothing answers, or not a Latent Lathe backend."""

    code = "backend_unavailable"


class BackendDied(BackendError):
    """The backend ended while it had work."""

    code = "backend_died"


class Unauthorized(BackendError):
    """Wrong token, Host or Origin."""

    code = "unauthorized"
    http_status = 401


class SetUpFailed(BackendError):
    """The environment of the backend could not be installed."""

    code = "set_up_failed"


class RequestError(LatheError):
    """The request is invalid."""

    code = "request"
    http_status = 422


class InvalidRequest(RequestError, ValueError):
    """A field out of range. Also a ValueError, so that validation libraries report it as one."""

    code = "invalid_request"


class UnknownModel(RequestError):
    """No model of this name."""

    code = "unknown_model"
    http_status = 404


class UnknownJob(RequestError):
    """No job of this id."""

    code = "unknown_job"
    http_status = 404


class BlobMissing(RequestError):
    """A request names an upload that the backend does not have."""

    code = "blob_missing"
    http_status = 404


class ResultGone(RequestError):
    """The result of that job is no longer kept."""

    code = "result_gone"
    http_status = 410


class TooLarge(RequestError):
    """Above a size limit."""

    code = "too_large"
    http_status = 413


class TaskError(LatheError):
    """A valid request that failed."""

    code = "task"
    http_status = 422


class OutOfMemory(TaskError):
    """Too little memory for this size."""

    code = "out_of_memory"
    http_status = 507


class NoSurface(TaskError):
    """The field has no surface at this level."""

    code = "no_surface"


class NotSupported(TaskError):
    """This model cannot do that."""

    code = "not_supported"


class UnreadableModel(TaskError):
    """A model folder that was edited or is damaged."""

    code = "unreadable_model"


class UnreadableFile(TaskError):
    """An image, mesh or other input that cannot be read."""

    code = "unreadable_file"


class UnusableDataset(TaskError):
    """Images or cameras that a scene cannot be fitted to."""

    code = "unusable_dataset"


class CannotWrite(TaskError):
    """No disk space or no permission."""

    code = "cannot_write"
    http_status = 507


class UnknownCheckpoint(TaskError):
    """A checkpoint of an unknown architecture."""

    code = "unknown_checkpoint"


class UnsafeCheckpoint(TaskError):
    """A checkpoint that tries to run code or misstates its sizes."""

    code = "unsafe_checkpoint"


class Diverged(TaskError):
    """A training or fit that became NaN."""

    code = "diverged"


class InternalError(TaskError):
    """A bug; the log has the traceback."""

    code = "internal"
    http_status = 500


def _tree(root: type[LatheError]) -> dict[str, type[LatheError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


ERRORS: dict[str, type[LatheError]] = _tree(LatheError)


def error_to_dict(error: LatheError) -> dict[str, Any]:
    """Return the error as JSON-ready data: {"code", "message", "remedy": {"action", "label", "value"} | None}."""
    remedy = error.remedy
    return {
        "code": error.code,
        "message": error.message,
        "remedy": None if remedy is None else {"action": remedy.action, "label": remedy.label, "value": remedy.value},
    }


def error_from_dict(data: object) -> LatheError:
    """Rebuild an error from `error_to_dict` data. An unknown code gives a plain LatheError, never an exception."""
    if not isinstance(data, dict):
        return LatheError("The backend reported an error in a form this add-on does not know.")
    kind = ERRORS.get(str(data.get("code")), LatheError)
    message = str(data.get("message", "The backend reported an error without a text."))
    return kind(message, remedy=remedy_from_dict(data.get("remedy")))


def remedy_from_dict(data: object) -> Remedy | None:
    """Rebuild a remedy from {"action", "label", "value"}; None for an action that this version does not know."""
    if not isinstance(data, dict):
        return None
    action = next((known for known in ACTIONS if known == data.get("action")), None)
    return None if action is None else Remedy(action, str(data.get("label", "")), data.get("value"))
