"""Choice of the device: the fastest one, a sentence where there is none, and one line in the log with all choices."""

from __future__ import annotations

import logging

import pytest
import torch

from addon.wire.errors import NotSupported
from backend import device as module
from backend.device import ENGINES, best_device, choices, device_of, fastest_engine
from backend.tasks.workspace import Workspace


@pytest.fixture(autouse=True)
def fresh() -> None:
    module._set_up.cache_clear()


def test_a_device_is_chosen_by_name_and_its_choices_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backend.device"):
        assert device_of("cpu") == device_of("cpu") == torch.device("cpu")
    assert len(caplog.messages) == 1
    line = caplog.messages[0]
    assert "\n" not in line and "device cpu" in line and "float32" in line and f"{torch.get_num_threads()} thr" in line
    assert "render_rays fused" in line and "march_rays warp" in line


def test_the_backend_logs_its_choices_at_start(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "backend.device"):
        assert Workspace("cpu").device == torch.device("cpu")
    assert [message.startswith("device cpu;") for message in caplog.messages] == [True]


@pytest.mark.parametrize("name", ["nothing", "cuda:99", "meta2"])
def test_a_device_that_is_not_here_is_refused_with_the_fastest_that_is(name: str) -> None:
    with pytest.raises(NotSupported, match=rf"(?s)'{name}'.*fastest one that it can use is '{best_device()}'"):
        device_of(name)


def test_on_cuda_tf32_is_off_in_products_and_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before = matmul.fp32_precision, conv.fp32_precision
    monkeypatch.setattr(torch, "zeros", lambda *size, device: None)
    try:
        matmul.fp32_precision = conv.fp32_precision = "tf32"
        device = device_of("cuda")
        assert (matmul.fp32_precision, conv.fp32_precision) == ("ieee", "ieee")
        assert "TF32 off" in choices(device) and "tiny-cuda-nn" in choices(device)
    finally:
        matmul.fp32_precision, conv.fp32_precision = before


@pytest.mark.parametrize("operation", ENGINES)
def test_every_operation_has_an_engine_on_every_device(operation: str) -> None:
    assert fastest_engine(operation, torch.device("mps")) in ("reference", "stages")
    for kind in ("cpu", "cuda"):
        assert fastest_engine(operation, torch.device(kind)) in ("reference", "warp", "fused", "stages")
