"""The registry finds a model's modules in its package, and no missing one goes unnoticed."""

from __future__ import annotations

import subprocess
import sys

import pytest

import build
from backend import generators


def test_a_package_that_is_named_and_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generators.MODELS, "nowhere", "backend.generators.nowhere")
    for ask in (generators.importable_kinds, generators.recipes):
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            ask()
    for of_kind in (generators.loader, generators.image_memory, generators.checkpoint_reader):
        with pytest.raises(ModuleNotFoundError, match="nowhere"):
            of_kind("nowhere")


@pytest.mark.parametrize("kind", generators.MODELS)
def test_every_model_has_a_loader_and_a_memory_estimate(kind: str) -> None:
    assert callable(generators.loader(kind))
    assert generators.image_memory(kind).bytes_of(1.0) > 0


def test_every_recipe_has_one_line_of_help_and_starts(capsys: pytest.CaptureFixture[str]) -> None:
    assert {"deepsdf", "gan3d"} <= generators.recipes().keys()
    for name, run in generators.recipes().items():
        assert (run.__doc__ or "").strip().endswith("."), name
        with pytest.raises(SystemExit) as ended:
            run(["--help"])
        assert ended.value.code == 0 and "usage:" in capsys.readouterr().out, name


def test_listing_models_imports_no_torch() -> None:
    program = (
        "import sys; from backend import generators as g; g.importable_kinds(); g.recipes(); "
        "sys.exit(bool({'torch', 'numpy', 'warp'} & sys.modules.keys()))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=build.ROOT, check=True)
