"""SIMD packet traversal of the occupancy grid, one ray a lane: sizes of `simd_packet.inl`. CPU."""

from .types import BLOCK

LANES = 16


def constants() -> dict[str, int]:
    """Return the `#define` preamble of simd_packet.inl."""
    return {"LANES": LANES, "BLOCK": BLOCK, "BLOCK_SHIFT": BLOCK.bit_length() - 1}  # BLOCK is a power of two
