"""The documentation names files that exist, and its index names every page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import build

PAGES = [build.ROOT / "README.md", build.ROOT / "CONTRIBUTING.md", *sorted((build.ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(build.ROOT).as_posix())
def test_links_and_images_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(build.ROOT).as_posix())
def test_paths_of_code_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:addon|backend|meshing|tests|examples|docs)/[\w/.]*)`", text)
    assert [path for path in named if not (build.ROOT / path).exists()] == []


def test_the_index_names_every_page() -> None:
    index = (build.ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = [page.name for page in (build.ROOT / "docs").glob("*.md") if page.name != "README.md"]
    assert [name for name in pages if f"({name})" not in index] == []


def test_every_picture_is_shown_somewhere() -> None:
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    cards = "".join(path.read_text(encoding="utf-8") for path in (build.ROOT / "backend").rglob("*.md"))
    pictures = [path.name for path in (build.ROOT / "docs" / "pictures").iterdir()]
    assert [name for name in pictures if name not in shown + cards] == []
