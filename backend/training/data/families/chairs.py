"""Procedural chairs: stools, slatted, solid, ladder and hoop backs, tubs, club chairs; swivel, sled and other legs.

Made in metres, the seat around the z axis, its front along −Y.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .solids import Array, Part, curve, hsv, lathe, slab, superellipse, tube

WOODS = ((0.56, 0.36, 0.19), (0.36, 0.22, 0.13), (0.78, 0.58, 0.36), (0.13, 0.13, 0.14), (0.58, 0.60, 0.63))
"""sRGB of frames: oak, walnut, birch, black paint, steel."""


@dataclass(frozen=True)
class Seat:
    """Measures that the other parts are fitted to: metres; `exponent` is the outline's (`solids.superellipse`)."""

    width: float
    depth: float
    height: float  # of the top
    thickness: float
    exponent: float


@dataclass(frozen=True)
class Paint:
    """sRGB [3] of frame and legs, seat, back, and a third accent."""

    frame: Array
    seat: Array
    back: Array
    accent: Array


CLOTHS = (
    *((0.0, 0.72, 0.78), (0.03, 0.62, 0.88), (0.08, 0.75, 0.93), (0.13, 0.72, 0.93), (0.22, 0.55, 0.62)),
    *((0.36, 0.5, 0.52), (0.45, 0.5, 0.66), (0.49, 0.55, 0.72), (0.54, 0.55, 0.82), (0.57, 0.7, 0.72)),
    *((0.61, 0.62, 0.52), (0.75, 0.38, 0.68), (0.93, 0.45, 0.85), (0.97, 0.6, 0.56), (0.6, 0.1, 0.5), (0.1, 0.3, 0.8)),
)
"""Hue, saturation, value of cloths: red to mustard, greens, blues, mauve to wine, grey, sand."""


def random_cloth(random: np.random.Generator) -> Array:
    hue, saturation, value = CLOTHS[random.integers(len(CLOTHS))]
    return hsv(
        hue + random.uniform(-0.02, 0.02), saturation * random.uniform(0.85, 1.1), value * random.uniform(0.9, 1.06)
    )


def random_paint(random: np.random.Generator) -> Paint:
    """Return colours that stand out from white."""
    cloth, other = random_cloth(random), random_cloth(random)
    wood = np.array(WOODS[random.integers(len(WOODS))], np.float32) * random.uniform(0.85, 1.12)
    frame = wood if random.random() < 0.75 else other
    back = (cloth, frame, other)[random.choice(3, p=(0.62, 0.25, 0.13))]
    return Paint(frame, cloth if random.random() < 0.85 else frame, back, other)


def four_legs(random: np.random.Generator, seat: Seat, color: Array, drop: float) -> list[Part]:
    """Straight, tapered or splayed legs, round or square, some with stretchers between them."""
    radius, splay = random.uniform(0.013, 0.026), random.uniform(0, 0.06) * (random.random() < 0.6)
    taper = random.uniform(0.55, 1.0)
    exponent = 2.0 if random.random() < 0.55 else 8.0
    inset = 0.86 if seat.exponent > 3 else 0.66
    corners = [
        (x * seat.width / 2 * inset, y * seat.depth / 2 * inset) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    feet = [(x + math.copysign(splay, x), y + math.copysign(splay, y)) for x, y in corners]
    parts = [
        tube([(*foot, 0), (*corner, drop - 0.012)], np.array([taper, 1.0]) * radius, color, steps=10, exponent=exponent)
        for foot, corner in zip(feet, corners, strict=True)
    ]
    if random.random() < 0.4:
        level = random.uniform(0.25, 0.6)
        at = [
            np.array([*foot, 0]) * (1 - level) + np.array([*corner, drop]) * level
            for foot, corner in zip(feet, corners, strict=True)
        ]
        thin = radius * 0.75
        pairs = [(0, 3), (1, 2)] + ([(0, 1), (2, 3)] if random.random() < 0.5 else [])
        parts += [tube([at[a], at[b]], thin, color, steps=8) for a, b in pairs]
        if len(pairs) == 2:
            parts.append(tube([(at[0] + at[3]) / 2, (at[1] + at[2]) / 2], thin, color, steps=8))
    return parts


def swivel(random: np.random.Generator, seat: Seat, color: Array, drop: float) -> list[Part]:
    """A column on a star of spokes with castors."""
    count, reach, hub = int(random.integers(4, 6)), random.uniform(0.24, 0.3), random.uniform(0.09, 0.12)
    parts = [tube([(0, 0, hub - 0.03), (0, 0, drop)], [0.035, 0.025], color, steps=10)]
    for index in range(count):
        angle = (index + 0.5) / count * 2 * math.pi
        tip = np.array([math.cos(angle) * reach, math.sin(angle) * reach, 0.055])
        parts.append(tube([np.array([0, 0, hub]), tip], [0.026, 0.016], color, steps=8))
        parts.append(tube([tip * (1, 1, 0) + (0, 0, 0.028), tip], 0.026, (0.12, 0.12, 0.13), steps=4))
    return parts


def pedestal(random: np.random.Generator, seat: Seat, color: Array, drop: float) -> list[Part]:
    """A column on a disc."""
    radius = random.uniform(0.2, 0.27)
    disc = slab(superellipse(2 * radius, 2 * radius, 2), 0.03, color, dome=random.uniform(0.0, 0.05))
    waist = random.uniform(0.02, 0.035)
    heights = np.linspace(0.01, drop, 12)
    widths = waist + (0.09 - waist) * np.abs(np.linspace(-1, 1, 12)) ** random.uniform(3, 8)
    return [disc, lathe(np.column_stack([widths, heights]), color)]


def sled(random: np.random.Generator, seat: Seat, color: Array, drop: float) -> list[Part]:
    """Two bent runners; cantilevered (open at the back) or closed loops."""
    radius, x = random.uniform(0.012, 0.018), seat.width / 2 * 0.88
    front, back = -seat.depth / 2 * 0.85, seat.depth / 2 * random.uniform(0.85, 1.05)
    corner = 0.05
    loop = [(back, radius), (front + corner, radius), (front, radius + corner), (front, drop - corner)]
    loop += [(front + corner, drop)] if random.random() < 0.5 else [(front, drop)]
    if random.random() < 0.45:
        loop = [(back, drop), (back, radius + corner), (back - corner, radius), *loop[1:]]
    else:
        loop.append((back * 0.8, drop))
    parts = [tube(curve([(side * x, y, z) for y, z in loop], 40), radius, color) for side in (-1, 1)]
    parts.append(tube([(-x, loop[0][0] * 0.9, radius), (x, loop[0][0] * 0.9, radius)], radius, color, steps=8))
    return parts


def panel_sides(random: np.random.Generator, seat: Seat, color: Array, drop: float) -> list[Part]:
    """Two boards, or a closed box, from the seat to the floor."""
    if random.random() < 0.2:
        box = slab(superellipse(seat.width * 0.86, seat.depth * 0.86, max(seat.exponent, 4)), drop, color, bevel=0.05)
        return [box]
    board = slab(superellipse(drop, seat.depth * 0.92, 9), 0.028, color).turned(math.pi / 2, 1)
    x = seat.width / 2 * 0.92
    return [board.moved((side * x - (0.028 if side > 0 else 0), 0, drop / 2)) for side in (-1, 1)]


LEGS = (four_legs, swivel, pedestal, sled, panel_sides)
LEG_SHARES = (0.55, 0.14, 0.1, 0.12, 0.09)


def bent(part: Part, seat: Seat, recline: float, hollow: float) -> Part:
    """Place a back made in the plane y = 0 above z = 0 behind the seat: reclined and curved around the sitter."""
    top, rear = seat.height, seat.depth / 2 * (0.93 if seat.exponent > 3 else 0.85)

    def deform(points: Array) -> Array:
        x, y, z = points.T
        return np.stack([x, y + rear + z * math.tan(recline) - hollow * (2 * x / seat.width) ** 2, z + top], -1)

    return part.mapped(deform)


def upright_board(width: float, height: float, thickness: float, exponent: float, color: Array) -> Part:
    """A board in the plane y = 0, centred on x = 0, from z = 0 up."""
    return (
        slab(superellipse(width, height, exponent), thickness, color)
        .turned(math.pi / 2, 0)
        .moved((0, thickness / 2, height / 2))
    )


def back_parts(random: np.random.Generator, seat: Seat, paint: Paint) -> list[Part]:
    """A solid, padded, slatted, ladder or hoop back in the plane y = 0, above the seat's z = 0."""
    kind = random.choice(["solid", "padded", "slats", "ladder", "hoop"], p=(0.28, 0.2, 0.2, 0.16, 0.16))
    width, height = seat.width * random.uniform(0.82, 1.0), random.uniform(0.32, 0.62)
    radius = random.uniform(0.014, 0.022)
    post_x = width / 2 - radius
    posts = [tube([(x, 0, -seat.thickness), (x, 0, height)], radius, paint.frame, steps=14) for x in (-post_x, post_x)]
    if kind == "solid":
        gap = random.choice([0.0, 0.06])
        board = upright_board(width, height, random.uniform(0.02, 0.07), random.choice([2.6, 4, 9]), paint.back)
        posts_below = [tube([(x, 0, -0.03), (x, 0, 0.2)], radius, paint.frame, steps=6) for x in (-0.12, 0.12)]
        return [board.moved((0, 0, gap)), *(posts_below if gap else [])]
    if kind == "padded":
        low = random.uniform(0.25, 0.5) * height
        pad = upright_board(width, height - low, random.uniform(0.03, 0.07), random.choice([3, 6]), paint.back)
        return [pad.moved((0, -0.01, low)), *posts]
    if kind == "slats":
        count, rail = int(random.integers(3, 7)), random.uniform(0.05, 0.11)
        xs = np.linspace(-post_x, post_x, count + 2)[1:-1]
        half = random.uniform(0.2, 0.36) * (xs[1] - xs[0])
        slats = [
            tube(
                [(x, 0, -0.02), (x, 0, height - rail / 2)],
                np.array([[half, 0.008]] * 2),
                paint.back,
                steps=12,
                exponent=8,
            )
            for x in xs
        ]
        top = upright_board(width, rail, 0.028, 7, paint.frame).moved((0, 0, height - rail))
        return [*slats, top, *posts]
    if kind == "ladder":
        count = int(random.integers(2, 5))
        rung = height / (count + 1) * random.uniform(0.4, 0.65)
        levels = np.linspace(height * 0.18, height - rung, count)
        rungs = [upright_board(width - radius, rung, 0.02, 7, paint.back).moved((0, 0, z)) for z in levels]
        return [*rungs, *posts]
    angle = np.linspace(0, math.pi, 30)
    shape = random.uniform(0.45, 0.9)
    loop = np.stack([-np.cos(angle) * post_x, angle * 0, np.sin(angle) ** shape * height], -1)
    hoop = tube(loop, radius, paint.frame)
    if random.random() < 0.4:
        board = upright_board(width * 0.42, height * 0.93, 0.018, 5, paint.back)
        return [hoop, board]
    xs = np.linspace(-post_x, post_x, int(random.integers(4, 8)) + 2)[1:-1]
    tops = np.sin(np.arccos(-xs / post_x)) ** shape * height
    return [
        hoop,
        *(tube([(x, 0, 0), (x * 1.02, 0, z)], 0.0095, paint.back, steps=10) for x, z in zip(xs, tops, strict=True)),
    ]


def arms(random: np.random.Generator, seat: Seat, paint: Paint, recline: float) -> list[Part]:
    """Arm rests on posts, padded or not."""
    height, x = random.uniform(0.18, 0.25), seat.width / 2 + 0.012
    front, rear = -seat.depth / 2 * random.uniform(0.45, 0.9), seat.depth / 2 * 0.93 + height * math.tan(recline)
    top = seat.height + height
    wide = random.uniform(0.018, 0.035)
    color = paint.frame if random.random() < 0.7 else paint.accent
    parts = []
    for side in (-1, 1):
        rest = np.array([(side * x, front - 0.03, top), (side * x, rear, top)])
        parts.append(tube(rest, np.array([[wide, 0.014]] * 2), color, steps=12, exponent=4))
        below = (side * x * 0.97, front * 0.95, seat.height - seat.thickness / 2)
        parts.append(tube([below, (side * x, front, top)], 0.014, paint.frame, steps=8))
    return parts


def upholstered(random: np.random.Generator, paint: Paint) -> list[Part]:
    """A club chair: thick seat, back and arms on short legs."""
    width, depth, base = random.uniform(0.5, 0.66), random.uniform(0.5, 0.6), random.uniform(0.08, 0.16)
    thick, exponent = random.uniform(0.09, 0.14), random.choice([4.0, 6.0, 10.0])
    height, arm = random.uniform(0.42, 0.62), random.uniform(0.2, 0.34)
    frame_color = paint.back if random.random() < 0.5 else paint.seat
    total = width + 2 * thick
    body = slab(superellipse(total, depth, 8), 0.2, frame_color, bevel=0.15).moved((0, 0, base))
    cushion = slab(superellipse(width, depth * 0.95, 5), 0.12, paint.seat, dome=0.02).moved((0, -0.015, base + 0.17))
    back = upright_board(total if random.random() < 0.5 else width, height, thick, exponent, frame_color)
    recline = random.uniform(0.02, 0.2)
    leaned = back.mapped(lambda p: p + np.stack([0 * p[:, 0], p[:, 2] * math.tan(recline), 0 * p[:, 0]], -1))
    sides = [
        slab(superellipse(depth, arm, exponent), thick, frame_color)
        .turned(math.pi / 2, 0)
        .turned(math.pi / 2)
        .moved((side * (width + thick) / 2 - thick / 2, 0, base + 0.15 + arm / 2))
        for side in (-1, 1)
    ]
    if random.random() < 0.15:
        sides = []
    legs = [
        tube(
            [(x * total * 0.42, y * depth * 0.4, 0), (x * total * 0.42, y * depth * 0.4, base + 0.02)],
            [0.016, 0.026],
            paint.frame,
            steps=5,
        )
        for x in (-1, 1)
        for y in (-1, 1)
    ]
    return [body, cushion, leaned.moved((0, depth / 2 - thick / 2, base + 0.12)), *sides, *legs]


def tub(random: np.random.Generator, seat: Seat, paint: Paint) -> list[Part]:
    """A shell around the seat: a wall of half a superellipse, highest at the back."""
    reach = random.uniform(0.55, 0.8) * math.pi
    angle = np.linspace(-reach, reach, 44)
    height, low = random.uniform(0.28, 0.45), random.uniform(0.1, 0.22)
    thick, flare = random.uniform(0.015, 0.035), random.uniform(1.0, 1.15)
    rx, ry = seat.width / 2, seat.depth / 2
    top = low + (height - low) * np.cos(angle / 2 * math.pi / reach).clip(0) ** random.uniform(0.5, 1.5)
    foot = -seat.thickness * 0.8
    path = np.stack([np.sin(angle) * rx, np.cos(angle) * ry, seat.height + (top + foot) / 2], -1)
    wall = tube(path, np.column_stack([np.full(44, thick), (top - foot) / 2]), paint.back, exponent=6)

    def lean(points: Array) -> Array:
        scale = 1 + (flare - 1) * ((points[:, 2:] - seat.height) / height).clip(0)
        return np.concatenate([points[:, :2] * scale, points[:, 2:]], -1)

    return [wall.mapped(lean)]


def chair(random: np.random.Generator) -> list[Part]:
    """Return the parts of a random chair (see the module)."""
    paint = random_paint(random)
    kind = random.choice(["back", "tub", "club", "stool"], p=(0.71, 0.09, 0.11, 0.09))
    if kind == "club":
        return upholstered(random, paint)
    exponent = float(random.choice([2.0, 2.8, 4.5, 9.0], p=(0.2, 0.2, 0.3, 0.3)))
    seat = Seat(
        random.uniform(0.4, 0.54),
        random.uniform(0.38, 0.5),
        random.uniform(0.4, 0.5),
        random.uniform(0.03, 0.07),
        exponent,
    )
    if kind == "stool" and random.random() < 0.6:
        seat = Seat(seat.width * 0.8, seat.width * 0.8, random.uniform(0.5, 0.72), seat.thickness, exponent)
    drop = seat.height - seat.thickness * 0.8
    legs = LEGS[random.choice(len(LEGS), p=LEG_SHARES)](random, seat, paint.frame, drop)
    board = slab(
        superellipse(seat.width, seat.depth, exponent), seat.thickness, paint.seat, dome=random.choice([0.0, 0.02])
    ).moved((0, 0, seat.height - seat.thickness))
    parts = [*legs, board]
    if random.random() < 0.2:
        pad = slab(
            superellipse(seat.width * 0.9, seat.depth * 0.9, exponent), 0.035, paint.accent, bevel=0.5, dome=0.015
        )
        parts.append(pad.moved((0, 0, seat.height - 0.005)))
    if kind == "tub":
        return parts + tub(random, seat, paint)
    if kind == "back":
        recline, hollow = random.uniform(0.03, 0.28), random.uniform(0, 0.06) * (random.random() < 0.6)
        parts += [bent(part, seat, recline, hollow) for part in back_parts(random, seat, paint)]
        if random.random() < 0.3:
            parts += arms(random, seat, paint, recline)
    return parts
