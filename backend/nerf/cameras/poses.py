"""Cameras that are refined together with the scene they see (BARF, arxiv.org/abs/2104.06405).

Vocabulary. A *twist* [..., 6] is an element of se(3): a rotation vector ω (radians) and a velocity ν. A *correction* is
a rigid motion of a camera in its own frame, made from a twist: world_from_corrected = world_from_camera · motion.

A scene that already has fine detail pulls cameras to the nearest detail that fits, not to the right one. So the scene
is fitted coarse to fine (`level_weights`). Images determine a scene and its cameras up to one similarity, which
`similarity_between` finds; poses are compared after it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .similarity import Similarity, similarity_between

TERMS = 10  # of the series, enough for float64 below an angle of 1

TRIES = 3  # of one step of `refined_pose`, each shorter than the last
SMALLEST_GAIN = 2e-3  # share of the error that a step must remove for another to be taken


def twist_exponential(twist: Tensor) -> Tensor:
    """Return the rigid motion exp(twist) [..., 4, 4] of twists [..., 6] (ω, ν).

    R = I + A[ω] + B[ω]², t = (I + B[ω] + C[ω]²) ν with A = sin θ/θ, B = (1 − cos θ)/θ², C = (θ − sin θ)/θ³. Near zero
    these are summed as series in θ², so that value and every derivative are exact there.
    """
    omega, velocity = twist[..., :3], twist[..., 3:]
    square = omega.square().sum(-1)[..., None, None]
    a, b, c = _coefficients(square)
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*x.shape, 3, 3)
    twice = cross @ cross
    unit = torch.eye(3, dtype=twist.dtype, device=twist.device)
    rotation = unit + a * cross + b * twice
    translation = (unit + b * cross + c * twice) @ velocity[..., None]
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=twist.dtype, device=twist.device).expand(*x.shape, 1, 4)
    return torch.cat((torch.cat((rotation, translation), -1), last), -2)


def _coefficients(square: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return A, B and C of θ²; the branch that is not taken gets an argument without NaN gradients."""
    near = square < 1.0
    small, large = torch.where(near, square, 0.0), torch.where(near, 1.0, square)
    theta = large.sqrt()
    closed = (theta.sin() / theta, (1 - theta.cos()) / large, (theta - theta.sin()) / (large * theta))
    found = []
    for order, value in enumerate(closed, 1):
        series = torch.zeros_like(small)
        for k in reversed(range(TERMS)):  # Σ (−θ²)^k / (2k + order)!, by Horner's rule
            series = 1 / math.factorial(2 * k + order) - small * series
        found.append(torch.where(near, series, value))
    return found[0], found[1], found[2]


def rotation_angle(rotation: Tensor) -> Tensor:
    """Return the angle [...] in 0..π of rotations [..., 3, 3]; accurate also near 0 and π."""
    skew = rotation - rotation.transpose(-1, -2)
    sine = torch.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), -1).norm(dim=-1)
    return torch.atan2(sine, rotation.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)


def level_weights(num_levels: int, progress: float, *, first: int = 0, start: float = 0.1, end: float = 0.5) -> Tensor:
    """Return the weight of each level (octave of an encoding, resolution of a grid), [num_levels] in 0..1.

    Eq. 14 of arxiv.org/abs/2104.06405: the weight of level k rises along half a cosine while α goes from k to k + 1. α
    goes from `first` (the number of coarse levels with full weight from the beginning) to num_levels while progress
    (0..1, of the fit) goes from `start` to `end`.
    """
    part = min(max((progress - start) / max(end - start, 1e-9), 0.0), 1.0)
    alpha = first + (num_levels - first) * part
    raised = (alpha - torch.arange(num_levels, dtype=torch.float32)).clamp(0, 1)
    return (1 - torch.cos(math.pi * raised)) / 2


def motion_about(twists: Tensor, length: float) -> Tensor:
    """Return the motions [..., 4, 4] of a camera, in its frame, of twists [..., 6].

    They rotate the camera about the point `length` metres ahead of it, the distance to the scene, which is also the
    unit of ν. About the camera's own center, a rotation and a sideways motion change an image almost alike, and a
    gradient cannot tell them apart; about the scene, ω is parallax, and ν shifts and scales the image. (The idea of
    arxiv.org/abs/2308.10902, by choice of the frame alone.)
    """
    motion = twist_exponential(twists)
    rotation = motion[..., :3, :3]
    ahead = twists.new_tensor([0.0, 0.0, 1.0])
    # p ↦ R (p − q) + q + ν about q = length · ahead
    translation = length * (motion[..., :3, 3] + ahead - rotation @ ahead)
    return torch.cat((torch.cat((rotation, translation[..., None]), -1), motion[..., 3:, :]), -2)


class PoseCorrections(nn.Module):
    """A twist for each training view, 0 at first, of a motion about the scene (`motion_about`)."""

    def __init__(self, world_from_camera: Tensor, length: float) -> None:
        super().__init__()
        self.given: Tensor
        self.register_buffer("given", world_from_camera.detach().clone())  # [views, 4, 4]
        self.length = length
        self.twists = nn.Parameter(torch.zeros(len(world_from_camera), 6, device=world_from_camera.device))

    def _motions(self, index: Tensor | None = None) -> Tensor:
        return motion_about(self.twists if index is None else self.twists[index], self.length)

    def poses(self) -> Tensor:
        """Return the corrected world_from_camera [views, 4, 4]."""
        return self.given @ self._motions()

    def moved(self, index: Tensor, origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return rays of the corrected cameras: those of the given cameras (origins, directions [N, 3], world) that
        belong to views index [N], moved with them. Differentiable with respect to the twists."""
        views, place = torch.unique(index, return_inverse=True)
        given = self.given[views]
        motion = given @ self._motions(views) @ _rigid_inverse(given)  # in the world
        motion = motion[place]
        rotation = motion[:, :3, :3]
        return (
            (rotation @ origins[..., None])[..., 0] + motion[:, :3, 3],
            (rotation @ directions[..., None])[..., 0],
        )


UNCERTAINTY = 0.1
"""Largest expected error of a camera before refinement, as the shift of its image over the focal length: 3° and 5 % of
the distance make 0.1. Silhouettes are dilated by it."""


class PoseRefinement:
    """The cameras of a fit, refined step by step together with its scene.

    Adam on the twists, at a rate that decays with the fit; the first steps, while the scene is fog, leave them alone.
    A camera has only some tens of rays in a step, so large rates would send it on a random walk. And Adam moves each
    component equally far, however little images determine it: while the scene is coarse that is parallax, and cameras
    would drift along it. So the second moment is at first the mean over a camera's components, and its own for each
    component at the end.

    Images do not determine the position, orientation and scale of the whole. To keep it from drifting, all cameras are
    moved back after each step by the similarity between them and the given ones, as long as the scene is coarse. Later
    its detail holds them, and moving them would blur it.
    """

    rate, final_rate = 3e-3, 3e-4  # radians (and parts of the distance) a step, at first and at the end
    mean_kept, square_kept = 0.9, 0.99  # in a step, of the running means of the gradient and of its square
    wait, warm_up = 40, 50  # steps without, and with a rising rate
    coarse, fine = 0.1, 0.5  # parts of the fit between which the weights of the levels rise
    held = 0.3  # part of the fit in which the whole is kept at its given place
    recoveries = (0.6, 0.8)  # parts of the fit at which lost cameras are relocalized
    outlier = 10.0  # photometric error of a lost camera, relative to the median

    def __init__(self, world_from_camera: Tensor, length: float) -> None:
        self.corrections = PoseCorrections(world_from_camera, length)
        self._marks = _marks(self.corrections.given, length)
        twists = self.corrections.twists.detach()
        self._mean, self._square, self._taken = torch.zeros_like(twists), torch.zeros_like(twists), 0
        self._recoveries = 0  # of lost cameras, so far

    @classmethod
    def about(cls, world_from_camera: Tensor, center: Sequence[float]) -> PoseRefinement:
        """Return a refinement of cameras around a scene of known center, [3] metres."""
        positions = world_from_camera[:, :3, 3]
        return cls(world_from_camera, float((positions - positions.new_tensor(center)).norm(dim=-1).median()))

    def cameras(self) -> Tensor:
        """Return world_from_camera [views, 4, 4] as they stand; differentiable in the twists."""
        return self.corrections.poses()

    @classmethod
    def level_weights(cls, num_levels: int, elapsed: float) -> Tensor:
        """Return the weight of each level of the scene [num_levels] at an elapsed part of the fit, 0..1."""
        return level_weights(num_levels, elapsed, first=2, start=cls.coarse, end=cls.fine)

    def zero_grad(self) -> None:
        """Forget the gradient of the twists."""
        self.corrections.twists.grad = None

    def advance(self, step: int, elapsed: float) -> None:
        """Take one step down the gradient that a loss of `cameras()` left in the twists; without one, none. step and
        elapsed (0..1) are of the fit."""
        twists = self.corrections.twists
        if twists.grad is None:
            return
        self._taken += 1
        self._mean.lerp_(twists.grad, 1 - self.mean_kept)
        self._square.lerp_(twists.grad.square(), 1 - self.square_kept)
        mean = self._mean / (1 - self.mean_kept**self._taken)
        square = self._square / (1 - self.square_kept**self._taken)
        apart = min(max((elapsed - self.coarse) / (self.fine - self.coarse), 0.0), 1.0)
        square = torch.lerp(square.mean(-1, keepdim=True), square, apart)
        rising = min(max((step - self.wait) / self.warm_up, 0.0), 1.0)
        rate = rising * self.rate * (self.final_rate / self.rate) ** elapsed
        with torch.no_grad():
            twists.sub_(rate * mean / (square.sqrt() + 1e-15))
        if elapsed < self.held:
            with torch.no_grad():
                given = self.corrections.given
                drift = similarity_between(_marks(self.cameras(), self.corrections.length), self._marks)
                given.copy_(drift.poses(given.cpu().double()))

    def recovery_due(self, elapsed: float) -> bool:
        """Return whether lost cameras are to be relocalized at an elapsed part of the fit (0..1), once at each of
        `recoveries`."""
        before, self._recoveries = self._recoveries, sum(elapsed >= part for part in self.recoveries)
        return self._recoveries > before

    def given(self, view: int) -> Tensor:
        """Return the given pose [4, 4] of a camera, moved with the whole."""
        return self.corrections.given[view]

    def place(self, view: int, world_from_camera: Tensor) -> None:
        """Replace a camera's given pose [4, 4], and refine it from there."""
        with torch.no_grad():
            self.corrections.given[view] = world_from_camera.to(self.corrections.given)
            for numbers in (self.corrections.twists, self._mean, self._square):
                numbers[view] = 0

    def tensors(self) -> dict[str, Tensor]:
        """Return the state that `restore` needs."""
        return {name: value.clone() for name, value in self._kept().items()} | {
            "twists.taken": torch.tensor(self._taken),
            "twists.looks": torch.tensor(self._recoveries),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `tensors` returned. Raises KeyError or RuntimeError where they are of other views."""
        for name, mine in self._kept().items():
            mine.copy_(tensors[name])
        self._taken = int(tensors["twists.taken"])
        self._recoveries = int(tensors.get("twists.looks", torch.tensor(0)))  # earlier versions had none

    def _kept(self) -> dict[str, Tensor]:
        found = {"twists": self.corrections.twists.detach(), "given": self.corrections.given}
        return found | {"twists.mean": self._mean, "twists.square": self._square}


def motion_of_all(before: Tensor, after: Tensor) -> Similarity:
    """Return the similarity of the world that takes cameras [N, 4, 4] from `before` nearest to `after`."""
    positions = before[:, :3, 3]
    length = float((positions - positions.mean(0)).norm(dim=-1).mean()) or 1.0
    return similarity_between(_marks(before, length), _marks(after, length))


def _marks(world_from_camera: Tensor, length: float) -> Tensor:
    """Return four points that move with each camera [4 · views, 3]: its center, and one along each axis. They determine
    a similarity also where all centers lie on one line."""
    centers = world_from_camera[:, None, :3, 3]
    axes = world_from_camera[:, :3, :3].transpose(1, 2)
    return torch.cat((centers, centers + length * axes), 1).reshape(-1, 3).cpu().double()


def _rigid_inverse(motion: Tensor) -> Tensor:
    rotation = motion[..., :3, :3].transpose(-1, -2)
    moved = torch.cat((rotation, -rotation @ motion[..., :3, 3:]), -1)
    return torch.cat((moved, motion[..., 3:, :]), -2)


@dataclass(frozen=True)
class PoseErrors:
    """Errors of cameras after the similarity that aligns them best with the true ones. rotation [N] radians; position
    [N] metres of the true world; similarity takes the found world to the true one."""

    rotation: Tensor
    position: Tensor
    similarity: Similarity


def pose_errors(found: Tensor, truth: Tensor) -> PoseErrors:
    """Compare cameras [N, 4, 4] with the true ones, as BARF does (Sec. 4.1: Procrustes on the optical centers)."""
    found, truth = found.double(), truth.double()
    similarity = similarity_between(found[:, :3, 3], truth[:, :3, 3])
    aligned = similarity.poses(found)
    turned = aligned[:, :3, :3].transpose(-1, -2) @ truth[:, :3, :3]
    return PoseErrors(rotation_angle(turned), (aligned[:, :3, 3] - truth[:, :3, 3]).norm(dim=-1), similarity)


def perturbed(world_from_camera: Tensor, angle: float, distance: float, seed: int = 0) -> Tensor:
    """Return cameras [N, 4, 4] each rotated by `angle` (radians) about a random axis through its center, and moved by
    `distance` (metres) in a random direction."""
    random = torch.Generator().manual_seed(seed)
    axes = torch.nn.functional.normalize(torch.randn(2, len(world_from_camera), 3, generator=random), dim=-1)
    turn = twist_exponential(torch.cat((angle * axes[0], torch.zeros_like(axes[0])), -1)).to(world_from_camera)
    moved = world_from_camera @ turn
    moved[:, :3, 3] += distance * axes[1].to(moved)
    return moved


def refined_pose(
    world_from_camera: Tensor,
    render: Callable[[Tensor], Tensor],
    target: Tensor,
    *,
    length: float,
    shift: float,
    steps: int = 10,
) -> Tensor:
    """Return one camera's pose [4, 4] refined against its own image, the scene held fixed, in float64.

    Held-out views take no part in the fit, so their remaining misalignment is removed like this before they are
    compared (Sec. 4.1 of BARF). Levenberg–Marquardt with central differences: for six unknowns, renders of slightly
    moved cameras are enough. A step that does not lower the error is not taken.

    Args:
        render: pose [4, 4] → values [...] of the image.
        target: [...] the values that it should have.
        length: metres from the camera to what it sees.
        shift: step of the differences, as the shift of the image over the focal length: half a pixel.
    """
    pose = world_from_camera.detach().double()
    offsets = shift * torch.eye(6, dtype=torch.float64, device=pose.device)
    residual = (render(pose) - target).double().reshape(-1)
    damping = 1e-3
    for _ in range(steps):
        pairs = [[render(pose @ motion_about(sign * twist, length)) for sign in (1, -1)] for twist in offsets]
        jacobian = torch.stack([(a - b).double().reshape(-1) / (2 * shift) for a, b in pairs], -1)
        curvature, descent = jacobian.T @ jacobian, -jacobian.T @ residual
        scale = curvature.diagonal() + 1e-9 * curvature.diagonal().amax() + 1e-12
        for _ in range(TRIES):
            twist = torch.linalg.solve(curvature + damping * torch.diag(scale), descent)
            moved = pose @ motion_about(twist, length)
            error = (render(moved) - target).double().reshape(-1)
            if error.square().sum() < residual.square().sum():
                break
            damping = max(30 * damping, 0.03)
        else:
            break
        gain = 1 - float(error.square().sum() / residual.square().sum())
        pose, residual, damping = moved, error, max(damping / 8, 1e-6)
        if gain < SMALLEST_GAIN or float(twist.abs().max()) < 0.1 * shift:
            break
    return pose
