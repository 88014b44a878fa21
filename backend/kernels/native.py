"""The inner loops of the fast kernels: C++ text that the compiler inside the Warp wheel turns into machine code.

Everything works on a *tile* of samples, nearly all of it stored structure-of-arrays, [channel][sample], so that a loop
over the samples of a tile is a few vector instructions, and a matrix product keeps its sums in registers. The functions
here return pieces of code for given sizes; an engine puts them together, because sizes that are known when it is
compiled are what makes it fast.
"""

from __future__ import annotations

import math

import torch

TILE = 32 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 16
"""Samples of a tile on a processor: two AVX-512 or AVX2 registers, four NEON ones, so that the sums of a matrix product
(4 x TILE) are enough to keep the units busy. On CUDA a tile is one thread's one sample."""

FUSED = "#pragma clang fp contract(fast)"
"""At the head of a block: a product and a sum become one instruction."""


def layer(
    name: str, source: str, weights: str, inputs: int, outputs: int, *, relu: bool, onto: str | None = None
) -> str:
    """Return code for `float name[outputs][TILE]` = source [inputs][TILE] · weights [inputs][outputs], perhaps added
    `onto` [outputs][TILE], perhaps ReLU.

    Four outputs at a time: their sums (4 x TILE) stay in registers over the whole of the inputs.
    """
    if outputs % 4:
        raise ValueError(f"outputs must be a multiple of 4, got {outputs}")
    keep = "v < 0.0f ? 0.0f : v" if relu else "v"  # what is not a number stays none
    begun = (
        f"for (int i = 0; i < 4; ++i) for (int s = 0; s < {TILE}; ++s) sum[i][s] = {onto}[(j + i) * {TILE} + s];"
        if onto
        else ""
    )
    return f"""
    float {name}[{outputs * TILE}];
    for (int j = 0; j < {outputs}; j += 4) {{
        {FUSED}
        float sum[4][{TILE}] = {{}};
        {begun}
        for (int k = 0; k < {inputs}; ++k) {{
            const float* w = {weights} + k * {outputs} + j;
            const float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
            for (int s = 0; s < {TILE}; ++s) {{
                const float v = {source}[k * {TILE} + s];
                sum[0][s] += w0 * v; sum[1][s] += w1 * v; sum[2][s] += w2 * v; sum[3][s] += w3 * v;
            }}
        }}
        for (int i = 0; i < 4; ++i)
            for (int s = 0; s < {TILE}; ++s) {{ const float v = sum[i][s]; {name}[(j + i) * {TILE} + s] = {keep}; }}
    }}"""


def layer_by_sample(name: str, source: str, weights: str, inputs: int, outputs: int) -> str:
    """Return code for `float name[TILE][outputs]`, the same product turned: the outputs of a sample lie together."""
    return f"""
    float {name}[{outputs * TILE}];
    for (int s = 0; s < {TILE}; s += 4) {{
        {FUSED}
        float sum[4][{outputs}] = {{}};
        for (int k = 0; k < {inputs}; ++k) {{
            const float* w = {weights} + k * {outputs};
            const float* v = {source} + k * {TILE} + s;
            const float v0 = v[0], v1 = v[1], v2 = v[2], v3 = v[3];
            for (int j = 0; j < {outputs}; ++j) {{
                sum[0][j] += v0 * w[j]; sum[1][j] += v1 * w[j]; sum[2][j] += v2 * w[j]; sum[3][j] += v3 * w[j];
            }}
        }}
        for (int i = 0; i < 4; ++i)
            for (int j = 0; j < {outputs}; ++j) {name}[(s + i) * {outputs} + j] = sum[i][j];
    }}"""


def turned(name: str, source: str, rows: int, columns: int) -> str:
    """Return code for `float name[columns][rows]` = source [rows][columns], turned.

    Squares, of half a tile at most, are turned in registers: their quarters change places across the diagonal, then the
    quarters of each quarter, and so on.
    """
    side = math.gcd(rows, columns, TILE // 2)
    changes, half = "", side // 2
    while half:
        kept = ", ".join(str(lane if not lane & half else side + lane - half) for lane in range(side))
        given = ", ".join(str(lane + half if not lane & half else side + lane) for lane in range(side))
        for row in range(side):
            if not row & half:
                a, b = f"row[{row}]", f"row[{row + half}]"
                changes += f"""
            {{ const line upper = {a}, lower = {b};
              {a} = __builtin_shufflevector(upper, lower, {kept});
              {b} = __builtin_shufflevector(upper, lower, {given}); }}"""
        half //= 2
    return f"""
    float {name}[{columns * rows}];
    for (int s = 0; s < {rows}; s += {side})
        for (int k = 0; k < {columns}; k += {side}) {{
            typedef float line __attribute__((vector_size({4 * side})));
            line row[{side}];
            for (int i = 0; i < {side}; ++i) __builtin_memcpy(&row[i], {source} + (s + i) * {columns} + k, {4 * side});
            {changes}
            for (int i = 0; i < {side}; ++i) __builtin_memcpy({name} + (k + i) * {rows} + s, &row[i], {4 * side});
        }}"""


def layer_inputs_gradient(name: str, gradient: str, weights: str, inputs: int, outputs: int, *, gate: str = "") -> str:
    """Return code for `float name[inputs][TILE]` = gradient [outputs][TILE] · weightsᵀ, zero where `gate` (the layer's
    inputs after their ReLU, [inputs][TILE]) is zero."""
    if inputs % 4:
        raise ValueError(f"inputs must be a multiple of 4, got {inputs}")
    closed = f"for (int i = 0; i < {inputs * TILE}; ++i) {name}[i] *= (float)({gate}[i] > 0.0f);" if gate else ""
    return f"""
    float {name}[{inputs * TILE}];
    for (int k = 0; k < {inputs}; k += 4) {{
        {FUSED}
        float sum[4][{TILE}] = {{}};
        const float* w = {weights} + k * {outputs};
        for (int j = 0; j < {outputs}; ++j) {{
            const float w0 = w[j], w1 = w[j + {outputs}], w2 = w[j + {2 * outputs}], w3 = w[j + {3 * outputs}];
            for (int s = 0; s < {TILE}; ++s) {{
                const float v = {gradient}[j * {TILE} + s];
                sum[0][s] += w0 * v; sum[1][s] += w1 * v; sum[2][s] += w2 * v; sum[3][s] += w3 * v;
            }}
        }}
        for (int i = 0; i < 4; ++i)
            for (int s = 0; s < {TILE}; ++s) {name}[(k + i) * {TILE} + s] = sum[i][s];
    }}
    {closed}"""


def layer_weights_gradient(source: str, gradient: str, total: str, inputs: int, outputs: int) -> str:
    """Return code that adds source [inputs][TILE] · gradientᵀ [TILE][outputs] to `total` [inputs][outputs].

    The gradient is transposed first, so that the inner loop runs along a row of `total`.
    """
    if inputs % 2:
        raise ValueError(f"inputs must be even, got {inputs}")
    block = next(size for size in (32, 16, 4) if outputs % size == 0)
    return f"""
    {{
        float turned[{outputs * TILE}];
        for (int j = 0; j < {outputs}; ++j)
            for (int s = 0; s < {TILE}; ++s) turned[s * {outputs} + j] = {gradient}[j * {TILE} + s];
        for (int j = 0; j < {outputs}; j += {block})
            for (int k = 0; k < {inputs}; k += 2) {{
                {FUSED}
                float* row = {total} + k * {outputs} + j;
                float sum0[{block}], sum1[{block}];
                for (int i = 0; i < {block}; ++i) {{ sum0[i] = row[i]; sum1[i] = row[i + {outputs}]; }}
                for (int s = 0; s < {TILE}; ++s) {{
                    const float v0 = {source}[k * {TILE} + s], v1 = {source}[(k + 1) * {TILE} + s];
                    const float* g = turned + s * {outputs} + j;
                    for (int i = 0; i < {block}; ++i) {{ sum0[i] += v0 * g[i]; sum1[i] += v1 * g[i]; }}
                }}
                for (int i = 0; i < {block}; ++i) {{ row[i] = sum0[i]; row[i + {outputs}] = sum1[i]; }}
            }}
    }}"""


def hash_corners(tile: int) -> str:
    """Return code for the eight corners around points of one level.

    Reads px, py, pz [tile] in 0..1, `scale`, `resolution`, `dense`. Makes x, y, z [2][tile], the lower and upper
    coordinate along each axis times that axis' multiplier, and fx, fy, fz [2][tile], their weights.
    """
    return f"""
    unsigned x[2][{tile}], y[2][{tile}], z[2][{tile}];
    float fx[2][{tile}], fy[2][{tile}], fz[2][{tile}];
    const unsigned my = dense ? resolution : 2654435761u, mz = dense ? resolution * resolution : 805459861u;
    for (int s = 0; s < {tile}; ++s) {{
        const float a = px[s] * scale + 0.5f, b = py[s] * scale + 0.5f, c = pz[s] * scale + 0.5f;
        const int i = (int)a, j = (int)b, k = (int)c;
        fx[1][s] = a - (float)i; fy[1][s] = b - (float)j; fz[1][s] = c - (float)k;
        fx[0][s] = 1.0f - fx[1][s]; fy[0][s] = 1.0f - fy[1][s]; fz[0][s] = 1.0f - fz[1][s];
        x[0][s] = (unsigned)i; x[1][s] = (unsigned)i + 1u;
        y[0][s] = (unsigned)j * my; y[1][s] = y[0][s] + my;
        z[0][s] = (unsigned)k * mz; z[1][s] = z[0][s] + mz;
    }}"""


def hash_index(tile: int) -> str:
    """Return code, for a loop over `corner` 0..7, after `hash_corners`: `index` [tile], the entry of each sample in its
    level of `size` entries, and wx, wy, wz [tile], pointers to its weights."""
    return f"""
    unsigned index[{tile}];
    const unsigned* xs = x[corner & 1]; const unsigned* ys = y[corner >> 1 & 1]; const unsigned* zs = z[corner >> 2];
    if (dense)
        for (int s = 0; s < {tile}; ++s) {{
            const unsigned at = xs[s] + ys[s] + zs[s];
            index[s] = at < size ? at : at - size;
        }}
    else
        for (int s = 0; s < {tile}; ++s) index[s] = (xs[s] ^ ys[s] ^ zs[s]) & (size - 1u);
    const float* wx = fx[corner & 1]; const float* wy = fy[corner >> 1 & 1]; const float* wz = fz[corner >> 2];"""


def exponential(name: str, count: int = TILE) -> str:
    """Return code that replaces name [count] by its exponential, to a relative error of about 1e-7; what is beyond a
    float's range becomes its end, and what is not a number stays none.

    exp(x) = 2^i · 2^f with i the nearest integer to x / ln 2; 2^f is a polynomial on −½..½.
    """
    return f"""
    for (int s = 0; s < {count}; ++s) {{
        const float given = {name}[s];
        float x = given > -87.0f ? given : -87.0f;
        x = x < 88.0f ? x : 88.0f;
        const float scaled = x * 1.44269504f;
        const int whole = (int)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
        const float f = (x - (float)whole * 0.693359375f) + (float)whole * 2.12194440e-4f;
        float sum = 1.9841270e-4f;
        sum = sum * f + 1.3888889e-3f; sum = sum * f + 8.3333333e-3f; sum = sum * f + 4.1666667e-2f;
        sum = sum * f + 1.6666667e-1f; sum = sum * f + 0.5f; sum = sum * f + 1.0f; sum = sum * f + 1.0f;
        union {{ int bits; float value; }} power;
        power.bits = (whole + 127) << 23;
        {name}[s] = given == given ? sum * power.value : given;
    }}"""
