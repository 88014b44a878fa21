"""Photo to latent, by buttons, with the fake backend."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from tests.addon.fake_backend import HANG
from tests.blender.helpers import pixels, press, refusal, run, settle, until
from tests.blender.test_panels import draw_all

bpy: Any = None
lathe: Any = None


def started(model: str = "sphere") -> Any:
    press("lathe.start_backend")
    press("lathe.choose_model", model=model)
    return bpy.context.scene.lathe


def drawn() -> dict[str, list[str]]:
    from tests.blender import test_panels

    test_panels.bpy, test_panels.lathe = bpy, lathe
    return draw_all()


def photo(name: str, width: int = 6, height: int = 4, **options: Any) -> Any:
    image = bpy.data.images.new(name, width, height, alpha=True, **options)
    flat = np.zeros((height, width, 4), np.float32)
    flat[0], flat[-1] = (1, 0, 0, 1), (0.5, 0.5, 0.5, 1)  # the first row of Blender's pixels is the lowest
    image.pixels.foreach_set(flat.ravel())
    return image


def test_a_photo_becomes_the_latent_and_the_view_that_make_it() -> None:
    scene = started()
    scene.preview.source, scene.preview.size = "SLIDERS", 16
    scene.latent.mix_geometry = 0.5
    scene.view.yaw, scene.view.pitch = 0.3, 0.1
    assert "Choose a photo" in refusal("lathe.invert")
    scene.inversion.image = photo("chair.png")
    press("lathe.invert")
    assert len(scene.latent.code) == 64 and scene.latent.code_data
    assert scene.latent.mix_geometry == 0, "seed B has no part in it"
    assert abs(scene.view.yaw - 0.55) < 1e-5 and abs(scene.view.pitch - (0.1 - 0.125)) < 1e-5
    shown = pixels("Lathe Inversion")
    assert shown.shape == (8, 16, 4), "photo and image side by side"
    assert (np.abs(shown[:, :8, 0] - 200 / 255) < 0.01).all() and (np.abs(shown[:, 8:, 0] - 100 / 255) < 0.01).all()
    texts = drawn()["LATHE_PT_inversion"]
    assert "Its middle was used" in texts and "31.5 dB from the photo" in texts
    assert press("lathe.generate_mesh").state == "done"
    scene.latent.keyframe_insert("mix_geometry", frame=1)


def test_a_tuned_model_becomes_the_shapes_model() -> None:
    scene = started()
    scene.inversion.image, scene.inversion.tuning_steps = photo("my chair.png"), 5
    assert lathe.inversion.actions.tuned_name(bpy.context) == "sphere_my_chair"
    press("lathe.invert")
    assert scene.model == "sphere_my_chair" and len(scene.latent.code) == 64
    scene.inversion.tuning_steps = 0


def test_it_is_cancelled_and_nothing_changes() -> None:
    scene = started()
    before = scene.latent.code
    scene.inversion.image, scene.inversion.seed = photo("slow.png"), HANG
    run("lathe.invert")
    until(lambda: "Lathe Inversion" in bpy.data.images)
    texts = drawn()["LATHE_PT_inversion"]
    assert "lathe.cancel_invert" in texts
    assert "A photo is being fitted" in refusal("lathe.invert")
    run("lathe.cancel_invert")
    settle()
    assert scene.latent.code == before
    assert "No photo is being fitted" in refusal("lathe.cancel_invert")
    scene.inversion.seed = 0


def test_masks_of_another_size_and_models_without_latents_are_refused() -> None:
    scene = started()
    scene.inversion.image, scene.inversion.mask = photo("chair.png"), photo("mask.png", 5, 4)
    assert "same size" in refusal("lathe.invert")
    scene.inversion.mask = None
    models = lathe.link.session.session.models
    models["grey"] = dataclasses.replace(models["sphere"], name="grey", has_color=False)
    press("lathe.choose_model", model="grey")
    assert "has no latents or no colours" in refusal("lathe.invert")
    assert "LATHE_PT_inversion" not in drawn()


def test_pixels_are_srgb_with_the_top_row_first() -> None:
    read = lathe.scene.gather.image_pixels
    found = read(photo("bytes.png"))
    assert found.shape == (4, 6, 4)
    assert np.allclose(found[-1], (1, 0, 0, 1)) and np.allclose(found[0], (0.5, 0.5, 0.5, 1), atol=1 / 255)
    linear = photo("floats.exr", float_buffer=True)
    linear.alpha_mode = "STRAIGHT"
    assert np.allclose(read(linear)[0, 0, :3], 1.055 * 0.5 ** (1 / 2.4) - 0.055, atol=1e-4)
    assert math.isclose(read(linear)[1, 0, 3], 0.0)
