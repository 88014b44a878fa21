"""Procedural toy animals: four legs, one of many heads, ears, horns, tails and coats.

Made in units of about the body's length, standing on z = 0 and looking along −Y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .solids import Array, Part, curve, hsv, lathe, tube

COATS = (
    *((0.07, 0.60, 0.62), (0.09, 0.45, 0.84), (0.06, 0.72, 0.90), (0.0, 0.0, 0.55), (0.08, 0.55, 0.38)),
    *((0.97, 0.38, 0.92), (0.0, 0.68, 0.85), (0.13, 0.66, 0.95), (0.28, 0.52, 0.70), (0.47, 0.52, 0.70)),
    *((0.56, 0.52, 0.84), (0.63, 0.48, 0.62), (0.76, 0.38, 0.74), (0.6, 0.12, 0.32), (0.11, 0.25, 0.88)),
)
"""Hue, saturation, value of coats as of a fox, sand, an orange, …, a frog, teal, the sky, violet, black, cream."""
DARK = (0.09, 0.08, 0.09)


@dataclass(frozen=True)
class Build:
    """Measures that the parts are fitted to."""

    body: Array  # [3] radii of the torso: x, y (along), z
    height: float  # of the torso's centre
    leg: float  # radius
    head: float  # radius
    neck: Array  # [3] the head's centre


@dataclass(frozen=True)
class Coat:
    """sRGB [3] of the coat, belly and snout, and marks."""

    main: Array
    light: Array
    mark: Array


def random_color(random: np.random.Generator) -> Array:
    """Return a colour of `COATS`, varied."""
    hue, saturation, value = COATS[random.integers(len(COATS))]
    hue, saturation = hue + random.uniform(-0.02, 0.02), saturation * random.uniform(0.85, 1.15)
    return hsv(hue, min(saturation, 1.0), min(value * random.uniform(0.9, 1.08), 1.0))


def ellipsoid(center: ArrayLike, radii: ArrayLike, color: ArrayLike, sides: int = 28) -> Part:
    """An ellipsoid with axis-parallel radii [3]; its rings run around z. `color` as in `solids.skin` (17 rings)."""
    angles = np.linspace(-math.pi / 2, math.pi / 2, 19)[1:-1]
    ball = lathe(np.column_stack([np.cos(angles), np.sin(angles)]), color, sides)
    return ball.mapped(lambda points: points * np.asarray(radii) + np.asarray(center))


def torso(random: np.random.Generator, build: Build, coat: Coat) -> list[Part]:
    """The body along y: plain, with a light belly, banded, or with patches."""
    kind = random.choice(["plain", "belly", "bands", "halves", "spots"], p=(0.25, 0.3, 0.15, 0.12, 0.18))
    angles = np.linspace(-math.pi / 2, math.pi / 2, 27)[1:-1]
    along = np.arange(25)
    colors = np.broadcast_to(coat.main, (25, 3))
    if kind == "bands":
        width = int(random.integers(2, 4))
        colors = np.where(((along // width) % 2 == 0)[:, None], coat.main, coat.mark)
    if kind == "halves":
        colors = np.where((along > random.integers(9, 16))[:, None], coat.main, coat.mark)
    fat = random.uniform(-0.18, 0.18)
    profile = np.column_stack([np.cos(angles) ** 0.85 * (1 + fat * np.sin(angles)), np.sin(angles)])
    # The lathe's z becomes −y, so that the first rings are the rear.
    ball = lathe(profile, colors, 32).turned(math.pi / 2, 0)
    center = np.array([0, 0, build.height])
    parts = [ball.mapped(lambda points: points * build.body + center)]
    if kind == "belly":
        parts.append(ellipsoid(center - (0, 0, build.body[2] * 0.16), build.body * (0.93, 0.86, 0.9), coat.light))
    if kind == "spots":
        for _ in range(int(random.integers(4, 9))):
            around, y = random.uniform(-0.3, math.pi + 0.3), random.uniform(-0.75, 0.75)
            level = math.sqrt(1 - y * y)
            at = np.array([math.cos(around) * level, y, math.sin(around) * level]) * build.body * (1, 0.96, 0.94)
            size = random.uniform(0.25, 0.42) * build.body[[0, 0, 2]]
            parts.append(ellipsoid(center + at * 0.9, size, coat.mark, 20))
    return parts


def legs(random: np.random.Generator, build: Build, coat: Coat) -> list[Part]:
    """Four legs with feet; the feet, or socks, may have another colour."""
    parts = []
    foot_color = (coat.main, coat.light, coat.mark, np.array(DARK, np.float32))[
        random.choice(4, p=(0.5, 0.2, 0.2, 0.1))
    ]
    foot, taper = build.leg * random.uniform(1.05, 1.4), random.uniform(0.75, 1.0)
    for x in (-1, 1):
        for y in (-1, 1):
            hip = np.array([x * (build.body[0] - build.leg * 0.7) * 0.85, y * build.body[1] * 0.62, build.height])
            ground = np.array([x * build.body[0] * 0.72, hip[1], build.leg * 0.8])
            parts.append(tube([ground, hip], [build.leg * taper, build.leg * 1.15], coat.main, sides=16, steps=9))
            parts.append(
                ellipsoid(np.add(ground, (0, -foot * 0.3, 0)), (foot, foot * 1.3, build.leg * 0.8), foot_color, 18)
            )
    return parts


def face(random: np.random.Generator, build: Build, coat: Coat) -> list[Part]:
    """The head with eyes and a muzzle, snout, beak or trunk."""
    r, center = build.head, build.neck
    wide = random.uniform(0.9, 1.12)
    parts = [ellipsoid(center, (r * wide, r, r * random.uniform(0.88, 1.05)), coat.main)]
    front = np.add(center, (0, -r * 0.85, -r * 0.22))
    kind = random.choice(["muzzle", "snout", "long", "beak", "trunk"], p=(0.3, 0.15, 0.25, 0.14, 0.16))
    color = coat.light if random.random() < 0.7 else coat.main
    if kind == "muzzle":
        size = random.uniform(0.42, 0.55) * r
        parts.append(ellipsoid(front, (size * 1.15, size, size * 0.8), color, 20))
        parts.append(ellipsoid(np.add(front, (0, -size * 0.9, size * 0.4)), (r * 0.16, r * 0.12, r * 0.12), DARK, 12))
    elif kind == "snout":
        size = random.uniform(0.34, 0.42) * r
        parts.append(
            tube([np.add(front, (0, r * 0.2, 0)), front - (0, r * 0.35, 0)], size, color, sides=18, exponent=3)
        )
        for x in (-1, 1):
            at = np.add(front, (x * size * 0.4, -r * 0.45, 0))
            parts.append(ellipsoid(at, (size * 0.2, size * 0.2, size * 0.3), DARK, 10))
    elif kind == "long":
        length, size = random.uniform(0.6, 1.1) * r, random.uniform(0.34, 0.46) * r
        tip = np.add(front, (0, -length, -r * 0.2))
        parts.append(
            tube([np.add(front, (0, r * 0.4, 0.05 * r)), tip], [size * 1.3, size * 0.8], color, sides=18, steps=9)
        )
        parts.append(ellipsoid(np.add(tip, (0, -size * 0.7, size * 0.4)), (r * 0.16, r * 0.12, r * 0.12), DARK, 12))
    elif kind == "beak":
        beak = hsv(random.uniform(0.07, 0.13), 0.85, 0.95)
        parts.append(
            tube(
                [np.add(front, (0, r * 0.2, 0)), front - (0, r * random.uniform(0.5, 0.8), r * 0.1)],
                np.array([[0.5, 0.3], [0.3, 0.1]]) * r,
                beak,
                sides=18,
                steps=7,
            )
        )
    else:
        drop = random.uniform(1.1, 1.9) * r
        path = [
            np.add(front, (0, 0.2 * r, 0.1 * r)),
            front - (0, 0.4 * r, 0.3 * r),
            front - (0, 0.55 * r, drop * 0.7),
            front - (0, random.uniform(0.6, 1.1) * r, drop),
        ]
        parts.append(tube(curve(path, 18), np.linspace(0.34, 0.2, 18) * r, coat.main, sides=16))
    eye = random.uniform(0.13, 0.2) * r
    for x in (-1, 1):
        direction = np.array([x * 0.48, -0.78, 0.32])
        at = center + direction / np.linalg.norm(direction) * (r * wide, r, r) * 0.98
        if random.random() < 0.999 and eye > 0.16 * r:
            parts.append(ellipsoid(at, (eye * 1.25,) * 3, (0.97, 0.97, 0.95), 16))
            parts.append(ellipsoid(at + direction * eye * 0.7, (eye * 0.8,) * 3, DARK, 14))
        else:
            parts.append(ellipsoid(at, (eye,) * 3, DARK, 14))
    return parts


def ears(random: np.random.Generator, build: Build, coat: Coat) -> list[Part]:
    """Round, pointed, long, hanging or big ears, or none; sometimes horns or a mane."""
    r, center = build.head, build.neck
    kind = random.choice(["round", "pointed", "long", "hanging", "big", "none"], p=(0.24, 0.24, 0.16, 0.14, 0.12, 0.1))
    color = coat.main if random.random() < 0.5 else coat.mark
    length = random.uniform(0.9, 1.25)
    parts = []
    for x in (-1, 1):
        base = center + np.array([x * 0.55, 0.05, 0.72]) * r
        if kind == "round":
            parts.append(
                ellipsoid(
                    np.add(base, (x * 0.12 * r, 0, 0.08 * r)), np.array([0.36, 0.17, 0.36]) * r * length, color, 18
                )
            )
        elif kind == "pointed":
            tip = base + np.array([x * 0.18, 0, 0.75 * length]) * r
            parts.append(
                tube([base - (0, 0, 0.15 * r), tip], np.array([[0.34, 0.2], [0.06, 0.05]]) * r, color, steps=8)
            )
        elif kind == "long":
            path = [
                base - (0, 0, 0.2 * r),
                base + np.array([x * 0.1, 0.05, 0.8]) * r,
                base + np.array([x * 0.25, 0.2, 1.5 * length]) * r,
            ]
            widths = np.array([[0.16, 0.1], [0.27, 0.12], [0.3, 0.12], [0.12, 0.08]]) * r
            width = np.stack([np.interp(np.linspace(0, 3, 16), range(4), column) for column in widths.T], -1)
            parts.append(tube(curve(path, 16), width, color))
        elif kind == "hanging":
            path = [
                center + np.array([x * 0.7, 0, 0.62]) * r,
                center + np.array([x * 1.15, 0, 0.3]) * r,
                center + np.array([x * 1.2, 0, -0.65 * length]) * r,
            ]
            parts.append(
                tube(curve(path, 14), np.column_stack([np.linspace(0.2, 0.34, 14), np.full(14, 0.12)]) * r, color)
            )
        elif kind == "big":
            at = center + np.array([x * 1.25, 0.3, 0.15]) * r
            parts.append(ellipsoid(at, np.array([0.62, 0.12, 0.72]) * r * length, color, 22))
    if random.random() < 0.22:
        pale = hsv(0.11, 0.25, 0.9) if random.random() < 0.7 else coat.mark
        for x in (-1, 1):
            base = center + np.array([x * 0.35, -0.2, 0.75]) * r
            path = [base, base + np.array([x * 0.15, 0, 0.35]) * r, base + np.array([x * 0.05, -0.15, 0.75]) * r]
            parts.append(tube(curve(path, 10), np.linspace(0.13, 0.03, 10) * r, pale))
    elif random.random() < 0.14:
        parts.append(ellipsoid(np.add(center, (0, r * 0.45, 0)), np.array([1.5, 0.55, 1.45]) * r, coat.mark))
    return parts


def tail(random: np.random.Generator, build: Build, coat: Coat) -> list[Part]:
    """A puff, a long curved, a bushy or a thick tapering tail."""
    kind = random.choice(["puff", "curved", "bushy", "thick"], p=(0.25, 0.3, 0.25, 0.2))
    root = np.array([0, build.body[1] * 0.88, build.height + build.body[2] * 0.25])
    size = build.body[1]
    if kind == "puff":
        return [ellipsoid(np.add(root, (0, 0.08 * size, 0)), (0.2 * size,) * 3, coat.light, 18)]
    if kind == "curved":
        rise = random.uniform(-0.5, 1.0)
        path = [root, root + np.array([0, 0.4, 0.1 * rise]) * size, root + np.array([0, 0.65, 0.8 * rise]) * size]
        parts = [tube(curve(path, 16), np.full(16, 0.07 * size), coat.main)]
        tuft = coat.mark if random.random() < 0.6 else coat.main
        return [*parts, ellipsoid(path[-1], (0.12 * size,) * 3, tuft, 14)]
    if kind == "bushy":
        path = [
            root,
            root + np.array([0, 0.4, 0.15]) * size,
            root + np.array([0, 0.6, random.uniform(0.5, 1.0)]) * size,
        ]
        widths = np.interp(np.linspace(0, 1, 18), [0, 0.6, 1], [0.1, 0.24, 0.08]) * size
        tip = tube(curve(path, 18)[-6:], widths[-6:] * 1.05, coat.light, sides=16)
        return [tube(curve(path, 18), widths, coat.main, sides=16), tip]
    path = [
        root - (0, 0.3 * size, 0.1 * size),
        root + np.array([0, 0.45, -0.2]) * size,
        root + np.array([0, random.uniform(0.9, 1.3), -0.3]) * size,
    ]
    return [tube(curve(path, 18), np.linspace(0.4, 0.06, 18) * build.body[2], coat.main, sides=18)]


def back(random: np.random.Generator, build: Build, coat: Coat) -> list[Part]:
    """Nothing, plates along the back, a shell, or a hump."""
    kind = random.choice(["none", "plates", "shell", "hump"], p=(0.7, 0.14, 0.1, 0.06))
    top = np.array([0, 0, build.height])
    if kind == "plates":
        count = int(random.integers(4, 7))
        found = []
        for y in np.linspace(-0.7, 0.7, count):
            size = build.body[2] * (0.5 - 0.25 * abs(y))
            at = np.add(top, (0, y * build.body[1], build.body[2] * math.sqrt(1 - y * y * 0.9) * 0.95))
            flat = np.array([[0.14, 0.5], [0.05, 0.1]]) * size * 1.4
            found.append(tube([at - (0, 0, 0.2 * size), np.add(at, (0, 0, size))], flat, coat.mark, steps=7))
        return found
    if kind == "shell":
        return [ellipsoid(np.add(top, (0, 0, build.body[2] * 0.25)), build.body * (1.18, 1.02, 1.0), coat.mark, 30)]
    if kind == "hump":
        return [ellipsoid(np.add(top, (0, 0, build.body[2] * 0.8)), build.body * (0.7, 0.4, 0.6), coat.main, 22)]
    return []


def animal(random: np.random.Generator) -> list[Part]:
    """Return the parts of a random animal (see the module)."""
    main, mark = random_color(random), random_color(random)
    light = main + (np.array([0.97, 0.93, 0.86], np.float32) - main) * random.uniform(0.55, 0.9)
    coat = Coat(main, light.astype(np.float32), mark)
    slim = random.uniform(0.30, 0.52)
    body = np.array([slim, random.uniform(0.55, 0.75), slim * random.uniform(0.88, 1.1)], np.float32)
    height = body[2] * 0.8 + random.uniform(0.22, 0.62)
    head = random.uniform(0.27, 0.42)
    long_neck = random.random() < 0.22
    rise = random.uniform(0.5, 0.95) if long_neck else random.uniform(0.1, 0.42)
    neck = np.array([0, -body[1] * 0.85 - head * random.uniform(0.2, 0.6), height + body[2] * 0.4 + rise], np.float32)
    build = Build(body, height, random.uniform(0.1, 0.17), head * (0.75 if long_neck else 1.0), neck)
    chest = np.array([0, -body[1] * 0.55, height + body[2] * 0.25])
    width = np.array([min(slim * 0.75, build.head), build.head * random.uniform(0.45, 0.75)])
    throat = tube([chest, neck], width, coat.main, sides=18, steps=12)
    return [
        *torso(random, build, coat),
        throat,
        *legs(random, build, coat),
        *face(random, build, coat),
        *ears(random, build, coat),
        *tail(random, build, coat),
        *back(random, build, coat),
    ]
