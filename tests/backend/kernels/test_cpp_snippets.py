"""The C++ of the kernels: formatted, accepted by a compiler, compiled anew after an edit, and right piece by piece."""

from __future__ import annotations

import inspect
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import build
from backend.kernels.cpp_snippets import FOLDER, TILE, included_files, snippet
from backend.kernels.hash_encoding import HashSpec, hash_encode, warp_engine
from backend.kernels.hash_encoding.reference import _index
from backend.kernels.radiance_mlp import RadianceMlpSpec, color_mlp, geometry_mlp
from backend.kernels.radiance_mlp import fused as networks
from backend.kernels.ray_marching import OccupancyBits, Steps, march_rays, simd_packet
from backend.kernels.ray_rendering import fused as rendering
from backend.kernels.sine import fused as sine
from backend.kernels.sparse_adam import warp_engine as adam
from backend.kernels.spherical_harmonics import spherical_harmonics
from backend.kernels.triplane_rendering import fused as triplanes
from backend.kernels.triplane_rendering.spec import TriplaneSpec
from backend.kernels.visible_samples import fused as visibility
from backend.kernels.warp_runtime import wp
from backend.kernels.winograd import fused as winograd

SOURCES = sorted(path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*.inl"))
MLP = RadianceMlpSpec(8, 16, 8, 16)

# ------------------------------------------------------------------------------------------------------ files and text


def test_the_files_are_formatted_as_clang_format_does() -> None:
    tool = shutil.which("clang-format", path=str(Path(sys.executable).parent))
    assert tool, "the package clang-format is missing: python build.py test installs it"
    command = [tool, "--dry-run", "-Werror", *(str(FOLDER / name) for name in SOURCES)]
    done = subprocess.run(command, cwd=build.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_snippet_is_a_preamble_and_the_file_with_its_includes_in_place(tmp_path: Path) -> None:
    (tmp_path / "outer.inl").write_text('int x = SIZE;\n    #include "inner/piece.inl"\n')
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "piece.inl").write_text("float y = LIMIT;\n")
    text = snippet("outer.inl", folder=tmp_path, SIZE=4, LIMIT=15.0)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert lines == [
        "#define SIZE 4", "#define LIMIT 15.0f", "int x = SIZE;", "float y = LIMIT;", "#undef SIZE", "#undef LIMIT",
    ]  # fmt: skip
    assert included_files("outer.inl", folder=tmp_path) == {"outer.inl", "inner/piece.inl"}
    with pytest.raises(FileNotFoundError):
        snippet("missing.inl", folder=tmp_path)


def made_by(code: str) -> float:
    """Compile a kernel whose function body is `code`, which writes to *result, and return what it wrote."""

    @wp.func_native(f"float* result = (float*)result_at;\n{code}")
    def run(result_at: wp.uint64): ...

    @wp.kernel(enable_backward=False, module="unique")
    def kernel(result: wp.uint64):  # type: ignore[no-untyped-def]
        run(result)

    result = torch.zeros(1)
    wp.launch(kernel, 1, inputs=[result.data_ptr()], device="cpu")
    return float(result)


def test_an_edit_of_an_included_file_compiles_its_kernels_anew(tmp_path: Path) -> None:
    (tmp_path / "outer.inl").write_text('#include "piece.inl"\n')
    for value in (2.0, 3.0, 2.0):
        (tmp_path / "piece.inl").write_text(f"*result = {value}f * FACTOR;\n")
        assert made_by(snippet("outer.inl", folder=tmp_path, FACTOR=10)) == 10 * value


# -------------------------------------------------------------------------------------------------------------- syntax

SHIM = """
#include <cstddef>
namespace wp { inline void atomic_add(float* at, float x) { *at += x; } }
#ifndef __clang__  // builtins of the compiler that Warp uses
template <class V> V __builtin_elementwise_floor(V x) { return x; }
template <class V> V __builtin_elementwise_ceil(V x) { return x; }
template <class V> int __builtin_reduce_or(V x) { return x[0]; }
template <class V> int __builtin_reduce_and(V x) { return x[0]; }
#endif
"""
TYPES = {int: "int", float: "float", wp.uint64: "unsigned long long"}


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """The code and the Python declaration of every C++ function that the engines make, for some shapes."""
    found: list[tuple[str, Any]] = []
    native = wp.func_native

    def recorded(code: str) -> Callable[[Any], Any]:
        def decorate(declaration: Any) -> Any:
            found.append((code, declaration))
            return native(code)(declaration)

        return decorate

    monkeypatch.setattr(wp, "func_native", recorded)
    for levels, channels in ((8, 1), (4, 2)):
        for device in ("cpu", "cuda"):
            warp_engine._kernels.__wrapped__(levels, channels, device)
        mlp = RadianceMlpSpec(levels * channels, 16, 8, 16)
        networks._kernels.__wrapped__(mlp)
        visibility._kernel.__wrapped__(levels, channels, mlp)
        rendering._kernel.__wrapped__(levels, channels, mlp)
    adam._kernel.__wrapped__(16)
    winograd._kernels.__wrapped__()
    sine._kernels.__wrapped__()
    axes = ((0, 1), (0, 2), (2, 0))
    triplanes._kernels.__wrapped__(TriplaneSpec(64, 16, 32, 4, 0.9, axes), 8)
    triplanes._decode_kernel.__wrapped__(TriplaneSpec(64, 16, 32, 4, 0.9, axes))
    return found


def test_a_compiler_accepts_every_file_and_no_name_is_left_defined(
    kernels: list[tuple[str, Any]], tmp_path: Path
) -> None:
    compiler = shutil.which("clang++") or shutil.which("g++")
    if compiler is None:
        pytest.skip("not run: no C++ compiler (clang++ or g++) on this machine")
    functions = []
    for number, (code, declaration) in enumerate(kernels):
        types = inspect.get_annotations(declaration, eval_str=True)
        types.pop("return", None)
        arguments = ", ".join(f"{TYPES[kind]} {name}" for name, kind in types.items())
        functions.append(f"void kernel_{number}({arguments}) {{\n{code}\n}}\n")
    names = sorted({name for code, _ in kernels for name in re.findall(r"#define (\w+)", code)})
    leftovers = "".join(f"#ifdef {name}\n#error {name} is left defined\n#endif\n" for name in names)
    source = tmp_path / "kernels.cpp"
    source.write_text(SHIM + "".join(functions) + leftovers)
    command = [compiler, "-std=c++17", "-fsyntax-only", "-Werror", "-Wno-psabi", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:4000]


def test_every_file_is_part_of_a_kernel(kernels: list[tuple[str, Any]]) -> None:
    text = " ".join(" ".join(code.split()) for code, _ in kernels)
    unused = []
    for name in SOURCES:
        first = (FOLDER / name).read_text().splitlines()[0]
        assert first.startswith("// "), f"{name} must begin by saying what it does"
        if " ".join(first.split()) not in text:
            unused.append(name)
    assert unused == []


# ------------------------------------------------------------------------------------------------- pieces, one by one


def evaluate(code: str, outputs: int, *inputs: Tensor) -> Tensor:
    """Run code that reads a, b, c, d (float*, the inputs) and writes `out` [outputs]; return that."""

    head = "".join(f"float* {name} = (float*){name}_at;\n" for name in ("a", "b", "c", "d", "out"))

    @wp.func_native(head + code)
    def run(a_at: wp.uint64, b_at: wp.uint64, c_at: wp.uint64, d_at: wp.uint64, out_at: wp.uint64): ...

    @wp.kernel(enable_backward=False, module="unique")
    def kernel(a: wp.uint64, b: wp.uint64, c: wp.uint64, d: wp.uint64, out: wp.uint64):  # type: ignore[no-untyped-def]
        run(a, b, c, d, out)

    result = torch.full((outputs,), math.nan)
    kept = [x.contiguous() for x in inputs]
    pointers = [x.data_ptr() for x in kept] + [0] * (4 - len(kept))
    wp.launch(kernel, 1, inputs=[*pointers, result.data_ptr()], device="cpu")
    return result


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape) + shape[0]))


def copied(name: str, count: int) -> str:
    return f"\nfor (int i = 0; i < {count}; ++i) out[i] = {name}[i];"


@pytest.mark.parametrize("outputs", [4, 8])
def test_a_layer_is_a_product_a_sum_and_a_relu(outputs: int) -> None:
    x, w, initial = random(12, TILE), random(12, outputs), random(outputs, TILE)
    sizes = {"TILE": TILE, "OUTPUT": "y", "INPUT": "a", "WEIGHTS": "b", "NUM_INPUTS": 12, "NUM_OUTPUTS": outputs}
    plain = evaluate(snippet("cpp_snippets/layer.inl", **sizes) + copied("y", outputs * TILE), outputs * TILE, x, w)
    torch.testing.assert_close(plain.view(outputs, TILE), w.T @ x, rtol=1e-5, atol=1e-5)
    code = snippet("cpp_snippets/layer.inl", **sizes, INITIAL="c", RELU="")
    full = evaluate(code + copied("y", outputs * TILE), outputs * TILE, x, w, initial)
    torch.testing.assert_close(full.view(outputs, TILE), torch.relu(w.T @ x + initial), rtol=1e-5, atol=1e-5)
    code = snippet("cpp_snippets/layer_by_sample.inl", **sizes)
    turned = evaluate(code + copied("y", outputs * TILE), outputs * TILE, x, w)
    torch.testing.assert_close(turned.view(TILE, outputs), x.T @ w, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("outputs", [4, 16, 32])
def test_the_gradients_of_a_layer_are_those_of_a_product(outputs: int) -> None:
    x, w, g = random(8, TILE).relu(), random(8, outputs), random(outputs, TILE)
    sizes = {"TILE": TILE, "NUM_INPUTS": 8, "NUM_OUTPUTS": outputs, "GRADIENT": "c"}
    code = snippet("cpp_snippets/layer_inputs_gradient.inl", **sizes, OUTPUT="y", WEIGHTS="b", ACTIVATION="a")
    to_x = evaluate(code + copied("y", 8 * TILE), 8 * TILE, x, w, g)
    torch.testing.assert_close(to_x.view(8, TILE), (w @ g) * (x > 0), rtol=1e-5, atol=1e-5)
    total = torch.ones(8, outputs)
    evaluate(snippet("cpp_snippets/layer_weights_gradient.inl", **sizes, INPUT="a", TOTAL="d"), 1, x, w, g, total)
    torch.testing.assert_close(total, 1 + x @ g.T, rtol=1e-5, atol=1e-4)


def test_the_exponential_keeps_nan_and_stays_finite() -> None:
    x = torch.tensor([0.0, 1.0, -1.0, 20.5, -80.0, 87.9, 1e9, -1e9, math.nan])
    y = evaluate(snippet("cpp_snippets/exponential.inl", VALUES="a", NUM_VALUES=9) + copied("a", 9), 9, x)
    torch.testing.assert_close(y[:6], torch.exp(torch.tensor([0.0, 1.0, -1.0, 20.5, -80.0, 87.9])), rtol=1e-6, atol=0)
    assert y[6].isfinite() and y[6] > 1e38 and 0 < y[7] < 1e-37 and y[8].isnan()


@pytest.mark.parametrize(("rows", "columns"), [(4, 12), (8, 16), (32, 16), (16, 32)])
def test_a_transposed_matrix_is_transposed(rows: int, columns: int) -> None:
    x = random(rows, columns)
    code = snippet("cpp_snippets/transpose.inl", TILE=32, OUTPUT="y", INPUT="a", NUM_ROWS=rows, NUM_COLUMNS=columns)
    y = evaluate(code + copied("y", rows * columns), rows * columns, x)
    assert torch.equal(y.view(columns, rows), x.T)


def test_the_harmonics_are_those_of_the_definition() -> None:
    d = torch.nn.functional.normalize(random(3, 3), dim=-1)
    code = snippet("cpp_snippets/spherical_harmonics.inl", OUTPUT="out", DIRECTION="a + 3 * s", NUM_DIRECTIONS=3)
    torch.testing.assert_close(evaluate(code, 48, d).view(16, 3).T, spherical_harmonics(d))


SPEC = HashSpec(4, 2, 10, 4, 32)
LEVEL_SIZES = {"TILE": TILE, "CHANNELS": 2, "NUM_LEVELS": 4, "WIDTH": 8, "LEVEL_1_CACHE": warp_engine.LEVEL_1_CACHE}


@pytest.mark.parametrize("number", [0, 3])
def test_the_corners_of_a_level_are_the_entries_of_the_definition(number: int) -> None:
    level = SPEC.levels[number]
    assert level.dense == (number == 0)
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    code = f"""
const int level = {number}, first = 0, end = 5;
const unsigned long long points_at = a_at, levels_at = b_at;
{snippet("hash_encoding/level.inl")}{snippet("hash_encoding/tile_points.inl", NUM_POINTS=5)}
{snippet("hash_encoding/corners.inl", NUM_POINTS=5)}
for (int corner = 0; corner < 8; ++corner) {{
    {snippet("hash_encoding/corner_index.inl", NUM_POINTS=5)}
    for (int s = 0; s < 5; ++s) {{ out[corner * 5 + s] = index[s]; out[40 + corner * 5 + s] = wx[s] * wy[s] * wz[s]; }}
}}
out[80] = level_offset;"""
    words = warp_engine.level_words(SPEC, torch.device("cpu"))
    found = evaluate(code, 81, points, words.view(torch.float32))
    low = (points * level.scale + 0.5).floor().long()
    fraction = points * level.scale + 0.5 - low
    for corner in range(8):
        offset = torch.tensor([corner >> axis & 1 for axis in range(3)])
        assert torch.equal(found[corner * 5 : corner * 5 + 5].long(), _index(low + offset, level))
        weights = torch.where(offset.bool(), fraction, 1 - fraction).prod(-1)
        torch.testing.assert_close(found[40 + corner * 5 : 45 + corner * 5], weights, rtol=0, atol=1e-5)
    assert found[80] == level.offset


def test_points_outside_are_clamped_and_nan_counts_as_zero() -> None:
    points = torch.tensor([[-1.0, 0.25, math.nan], [2.0, 1.0, 0.0]])
    code = snippet("hash_encoding/tile_points.inl", NUM_POINTS=3)
    code = f"const int first = 0, end = 2; const unsigned long long points_at = a_at;\n{code}"
    code += "for (int s = 0; s < 3; ++s) { out[3 * s] = px[s]; out[3 * s + 1] = py[s]; out[3 * s + 2] = pz[s]; }"
    expected = torch.tensor([[0.0, 0.25, 0.0], [1.0, 1.0, 0.0], [0.0, 0.25, 0.0]])  # past the end, the first again
    assert torch.equal(evaluate(code, 9, points).view(3, 3), expected)


def test_the_features_of_a_wave_are_those_of_the_definition() -> None:
    count = TILE + 3
    points = torch.rand(count, 3, generator=torch.Generator().manual_seed(0))
    table = random(SPEC.num_entries, 2)
    code = f"""
float* const xs = a; float* const ys = a + {count}; float* const zs = a + {2 * count};
const unsigned long long levels_at = b_at, table_at = c_at;
const int n = {count};
{snippet("hash_encoding/encode_wave.inl", **LEVEL_SIZES, OUTPUT="out")}"""
    room = torch.zeros(3 * count + TILE)
    room[: 3 * count] = points.T.reshape(-1)
    words = warp_engine.level_words(SPEC, torch.device("cpu")).view(torch.float32)
    tiles = evaluate(code, 2 * TILE * 8, room, words, table).view(2, 8, TILE)
    features = tiles.transpose(1, 2).reshape(-1, 8)[:count]
    torch.testing.assert_close(features, hash_encode(points, table, SPEC, impl="reference"), rtol=0, atol=1e-5)


def test_the_layers_of_the_two_networks_are_those_of_the_definition() -> None:
    parameters = MLP.initial(torch.Generator().manual_seed(0))
    x, view = random(TILE, 8), random(16, 1)[:, 0]
    sizes = networks.constants(MLP)
    code = f"""
const float* parameters = b; const float* view = c; const float* x = a;
{snippet("radiance_mlp/density_layers.inl", **sizes).replace("h1", "h1_of_density")}
{snippet("radiance_mlp/geometry_layers.inl", **sizes)}
{snippet("radiance_mlp/view_layer.inl", **sizes, OUTPUT="one")}
float view_layers[{16 * TILE}];
for (int k = 0; k < 16; ++k) for (int s = 0; s < {TILE}; ++s) view_layers[k * {TILE} + s] = one[k];
{snippet("radiance_mlp/color_layers_of_rays.inl", **sizes)}
for (int s = 0; s < {TILE}; ++s) {{
    out[s] = density[s];
    for (int k = 0; k < 8; ++k) out[{TILE} * (1 + k) + s] = geometry[k * {TILE} + s];
    for (int c = 0; c < 3; ++c) out[{TILE} * (9 + c) + s] = rgb[c * {TILE} + s];
}}"""
    found = evaluate(code, 12 * TILE, x.T.contiguous(), parameters, view).view(12, TILE).T
    geometry = geometry_mlp(x, parameters, MLP, impl="reference")
    rays = torch.zeros(TILE, dtype=torch.int32)
    rgb = color_mlp(geometry, view[None], rays, parameters, MLP, impl="reference")
    torch.testing.assert_close(found[:, 0], geometry[:, 0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 1:9], geometry, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found[:, 9:], rgb, rtol=1e-4, atol=1e-4)


STEPS = {"even": Steps(1 / 40), "cone": Steps(1 / 80, 1 / 64), "contracted": Steps(1 / 60, 1 / 64, contracted=True)}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS.keys())
def test_a_packet_of_rays_stops_where_each_ray_alone_does(steps: Steps) -> None:
    occupied = torch.zeros(16, 16, 16, dtype=torch.bool)
    occupied[8:14, 2:12, 10:13] = True
    grid = OccupancyBits(occupied)
    count = simd_packet.LANES
    random = torch.Generator().manual_seed(0)
    origins = torch.rand(count, 3, generator=random) - torch.tensor([0.0, 0.0, 1.5])
    directions = torch.rand(count, 3, generator=random) * 0.5 + torch.tensor([0.0, -0.25, 1.0])
    near, far, jitter = torch.full((count,), 0.1), torch.full((count,), 3.0), torch.zeros(count)
    samples = march_rays(origins, directions, near, far, grid, steps, jitter, impl="reference")
    expected = [
        float(samples.t[samples.offsets[ray]]) if samples.offsets[ray] < samples.offsets[ray + 1] else None
        for ray in range(count)
    ]
    assert 0 < expected.count(None) < count - 3
    columns = [*origins.T, *directions.T, *(1 / directions).T, near, far, near, torch.zeros(count)]
    names = [f"{what}_{axis}" for what in ("origin", "direction", "inverse") for axis in "xyz"]
    names += ["t_begin", "t_end", "t_now", "num_steps"]
    fields = "".join(f"float* const {field} = a + {count * at};\n" for at, field in enumerate(names))
    code = f"""{fields}
const unsigned char* bits = (const unsigned char*)b_at; const unsigned char* empty = (const unsigned char*)c_at;
const float smallest = {steps.smallest}f, cone = {steps.cone}f;
const int contracted = {int(steps.contracted)}, resolution = {grid.resolution};
{snippet("ray_marching/simd_packet.inl", **simd_packet.constants())}
advance(0);
for (int i = 0; i < {count}; ++i) out[i] = t_now[i];"""
    found = evaluate(code, count, torch.cat(columns), grid.bits, grid.empty)
    for ray, t in enumerate(expected):
        if t is None:
            assert found[ray] >= far[ray]
        else:
            assert float(found[ray]) == pytest.approx(t, abs=1e-4)


def test_a_step_of_adam_is_the_formula() -> None:
    code = f"""
const unsigned long long touched_at = (unsigned long long)&flags, table_at = a_at, gradient_at = b_at;
const unsigned long long mean_at = c_at, square_at = d_at;
const int start = 0, end = 2;
const float beta1 = 0.9f, beta2 = 0.99f, rate = 0.1f, correction = 2.0f, epsilon = 1e-8f;
{snippet("sparse_adam/step.inl", WIDTH=3)}"""
    code = "unsigned char flags[2] = {0, 1};\n" + code + "out[0] = flags[1];"
    x, g, m, v = random(2, 3), random(2, 3) + 1, random(2, 3) * 0.1, random(2, 3).abs()
    before = [t.clone() for t in (x, g, m, v)]
    assert evaluate(code, 1, x, g, m, v) == 0
    mean, square = 0.9 * before[2][1] + 0.1 * before[1][1], 0.99 * before[3][1] + 0.01 * before[1][1] ** 2
    torch.testing.assert_close(x[1], before[0][1] - 0.1 * mean / ((square * 2).sqrt() + 1e-8))
    assert torch.equal(x[0], before[0][0]) and torch.equal(g[0], before[1][0]) and not g[1].any()
