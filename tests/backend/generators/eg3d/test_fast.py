"""The precomputed convolutions and backbone agree with the reference ones."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch

from backend.generators.eg3d.fast import Precomputed, planes_of
from backend.generators.eg3d.model import EG3D, SUPERRESOLUTIONS, BackboneConfig, EG3DConfig
from backend.generators.layers.stylegan2 import BINOMIAL, bias_act, convolve, low_pass, upsample2d
from backend.generators.layers.winograd import Conv3x3, DoublingConv3x3, framed, upsampled


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12)])
def test_winograd_equals_convolution_and_activation(height: int, width: int) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, 5, height, width), torch.randn(6, 5, 3, 3) / 7, torch.randn(6)
    expected = bias_act(convolve(x, weight, up=False, kernel=None), bias, "lrelu", clamp=1.0)
    conv = Conv3x3(weight, bias, slope=0.2, gain=math.sqrt(2), clamp=1.0)
    result, doubled = conv(framed(x[0].permute(1, 2, 0)), then=lambda pixels: 2 * pixels)
    assert torch.allclose(result[1:-1, 1:-1].permute(2, 0, 1), expected[0], atol=2e-5)
    assert doubled is not None
    assert torch.equal(doubled, 2 * result[1:-1, 1:-1])
    assert float(result[0].abs().sum() + result[:, -1].abs().sum()) == 0


@pytest.mark.parametrize("taps", [BINOMIAL, (1.0, 2.0, 1.0), (1.0, 2.0, 3.0, 4.0), (1.0, 1.0)])
@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (20, 124)])
def test_winograd_equals_doubling_convolution_filter_and_activation(
    taps: tuple[float, ...], height: int, width: int
) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(1, 5, height, width), torch.randn(6, 5, 3, 3) / 7, torch.randn(6)
    noise = torch.randn(2 * height, 2 * width)
    expected = convolve(x, weight, up=True, kernel=low_pass(taps)) + noise
    expected = framed(bias_act(expected, bias, "lrelu", clamp=1.0)[0].permute(1, 2, 0))
    conv = DoublingConv3x3(weight, bias, slope=0.2, gain=math.sqrt(2), clamp=1.0, taps=taps)
    doubled = conv(framed(x[0].permute(1, 2, 0)), noise=noise)
    assert doubled.shape == expected.shape
    rows = height // 2
    for begin, stop, step in ((0, rows, 1), (0, rows, 3), (1, rows, 2), (rows - 1, rows, 1), (0, 1, 1)):
        seen = begin
        for first, count, window in doubled.windows(begin, stop, step):
            assert first == seen
            seen += count
            assert torch.allclose(window, expected[4 * first : 4 * seen + 2], atol=2e-5)
        assert seen == stop


@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolution_reads_a_doubled_image_that_is_never_whole(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backend.threads.num_threads", lambda: threads)
    torch.manual_seed(0)
    x, first, second = torch.randn(1, 5, 12, 36), torch.randn(6, 5, 3, 3) / 7, torch.randn(4, 6, 3, 3) / 7
    expected = convolve(convolve(x, first, up=True, kernel=low_pass(BINOMIAL)), second, up=False, kernel=None)
    linear: dict[str, Any] = {"slope": 1.0, "gain": 1.0, "clamp": None}
    doubled = DoublingConv3x3(first, torch.zeros(6), taps=BINOMIAL, **linear)(framed(x[0].permute(1, 2, 0)))
    result, mapped = Conv3x3(second, torch.zeros(4), **linear)(doubled, then=lambda pixels: 2 * pixels)
    assert torch.allclose(result[1:-1, 1:-1].permute(2, 0, 1), expected[0], atol=2e-5)
    assert mapped is not None and torch.equal(mapped, 2 * result[1:-1, 1:-1])


@pytest.mark.parametrize("taps", [BINOMIAL, (1.0, 2.0, 3.0, 4.0)])
def test_upsampled_equals_zero_insertion_and_filter(taps) -> None:
    image = torch.randn(1, 3, 5, 6)
    assert torch.allclose(
        upsampled(image[0].permute(1, 2, 0), taps).permute(2, 0, 1), upsample2d(image, low_pass(taps))[0], atol=1e-6
    )


def network() -> EG3D:
    torch.manual_seed(0)
    sr = dataclasses.replace(SUPERRESOLUTIONS["SuperresolutionHybrid8XDC"], input_resolution=16, channels=(8, 6))
    backbone = BackboneConfig(resolution=256, channel_base=1024, channel_max=8)
    made = EG3D(EG3DConfig(superresolution=sr, z_dim=8, w_dim=16, backbone=backbone)).requires_grad_(False)
    for name, parameter in made.named_parameters():
        if name.endswith(("bias", "noise_strength")):
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def test_planes_and_their_samples_agree() -> None:
    net = network()
    ws = torch.randn(14, 16)
    expected = net.backbone(ws[None])
    got = planes_of(net.backbone, ws)
    assert torch.allclose(got.permute(2, 0, 1), expected[0].flatten(0, 1), atol=1e-4)
    precomputed = Precomputed(net, ws)
    points = (torch.rand(500, 3) - 0.5) * 1.3  # some outside
    raw, values = net.density_and_features(expected, points[None])
    found_raw, found_values = precomputed.density_and_features(points)
    assert torch.allclose(found_raw, raw[0, :, 0], atol=1e-4) and torch.allclose(found_values, values[0], atol=1e-4)


def test_the_precomputed_superresolution_agrees() -> None:
    net = network()
    ws, features = torch.randn(14, 16), torch.rand(1, 32, 12, 12)
    got = Precomputed(net, ws).superresolution(features)
    assert torch.allclose(got, net.superresolution(features, ws[None]), atol=1e-4)
