"""The starter models in background Blender with the real backend: images, meshes, and what needs an image first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import build
from tests.blender.helpers import done, pixels

bpy: Any = None
lathe: Any = None


def preview() -> np.ndarray:
    done("lathe.preview")
    return pixels("Lathe Preview")


def chosen(model: str, size: int) -> Any:
    bpy.context.view_layer.objects.active = None
    done("lathe.choose_model", model=model)
    scene = bpy.context.scene.lathe
    scene.preview.source, scene.preview.size, scene.mesh.resolution = "SLIDERS", size, 32
    return scene


def meshed(operator: str = "lathe.generate_mesh", **arguments: Any) -> np.ndarray:
    """Return the sides of a mesh's box, metres."""
    item = bpy.data.objects[done(operator, **arguments)]
    points = np.empty(len(item.data.vertices) * 3, np.float32)
    item.data.vertices.foreach_get("co", points)
    return np.ptp(points.reshape(-1, 3), axis=0)


def assert_a_chair(size: np.ndarray) -> None:
    assert (size > 0.2).all() and (size < 2.0).all() and size.argmax() == 2, f"{size}: metres, and standing upright"


def test_every_starter_does_what_its_panel_offers(tmp_path: str) -> None:
    """One test, because a backend takes seconds to start."""
    lathe.preferences.extension_root = lambda: build.ROOT
    lathe.preferences.preferences(bpy.context).data = f"{tmp_path}/data"
    done("lathe.start_backend")
    assert {"deepsdf_chairs", "gan3d_chairs", "hologan_chairs", "von_chairs"} <= set(lathe.link.session.session.models)

    scene = chosen("gan3d_chairs", 48)
    seen = preview()
    assert 0.02 < seen[..., 3].mean() < 0.9
    assert_a_chair(meshed())

    scene = chosen("von_chairs", 32)
    scene.preview.sketch = True
    first, silhouette = preview(), pixels("Lathe Silhouette")
    scene.latent.seed_b += 1  # the texture's
    other = preview()
    assert (first[..., :3] != other[..., :3]).any() and (first[..., 3] == other[..., 3]).all()
    assert (pixels("Lathe Silhouette") == silhouette).all(), "texture and shape are apart"
    scene.latent.seed_a += 1
    assert (preview()[..., 3] != first[..., 3]).any()
    assert_a_chair(meshed())
    path = Path(tmp_path) / "seen.png"
    lathe.scene.png.write(path, other)
    done("lathe.take_texture", filepath=str(path))

    chosen("gan3d_chairs", 48)
    assert_a_chair(meshed("lathe.image_to_shape", filepath=str(path)))

    chosen("von_chairs", 32)
    scene = chosen("hologan_chairs", 64)
    assert scene.latent.mix_appearance == 0, "seed B was the texture of the model before"
    one = preview()
    scene.view.yaw = 0.5
    assert (preview() != one).any()
    with pytest.raises(RuntimeError, match="surface"):
        bpy.ops.lathe.generate_mesh()
    scene.field.views, scene.field.steps, scene.field.preset = 12, 20, "DRAFT"
    field = bpy.data.objects[done("lathe.fit_views")]
    assert field.lathe.is_field and field.lathe.model.startswith("hologan_chairs")
