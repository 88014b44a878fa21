"""Version of the protocol, and the types of matrices and boxes."""

from __future__ import annotations

PROTOCOL_VERSION = 2

Row3 = tuple[float, float, float]
Row4 = tuple[float, float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Matrix4 = tuple[Row4, Row4, Row4, Row4]
Bounds = tuple[Row3, Row3]
"""Axis-aligned box: (minimum corner, maximum corner), metres."""

IDENTITY4: Matrix4 = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
