"""Fixed networks whose features tell how alike images are, for KID and Fréchet distances.

Two sources. The npm package nsfwjs (MIT, © Infinite Red, Inc.) holds a MobileNetV2 and an InceptionV3 that were trained
on photographs; it is fetched by whoever measures (`npm pack nsfwjs@4.4.0`, 25 MB), read from its archive, and neither
copied nor shipped. Without it, `backend.training.features` trains a small network on the data at hand.

Distances in these features are *like* FID and KID: they rank images (docs/training.md has the tests), and compare
with no published figure. So each figure carries `FeatureNetwork.name`.
"""

from __future__ import annotations

import base64
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from addon.wire.errors import InvalidRequest, UnreadableFile

from ...progress import Progress, silent
from ..features import ImageFeatures, train_features
from .layers_model import LayersModel, dequantised

HOW_TO_GET = "npm pack nsfwjs@4.4.0"
PACKAGE_NETWORKS = {
    "mobilenet": ("mobilenet_v2", "out_relu", "MobileNetV2", 96),
    "mobilenet224": ("mobilenet_v2", "out_relu", "MobileNetV2", 224),
    "inception": ("inception_v3", "mixed10", "InceptionV3", 147),
    "inception299": ("inception_v3", "mixed10", "InceptionV3", 299),
}
"""Name → folder in the package, layer of the features, its name in figures, side of the network's images."""

BATCH = 32


@dataclass(frozen=True)
class FeatureNetwork:
    """A function from images to features, and its name for figures and cards."""

    name: str
    side: int  # images are resized to this many pixels
    compute: Callable[[Tensor], Tensor]  # images [n, 3, side, side] in 0..1 to features [n, d]

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Return features [n, d] of images [n, 3, H, W]: uint8, or float in 0..1."""
        return torch.cat([self.compute(resized(in_unit_range(part), self.side)) for part in images.split(BATCH)]).cpu()


def in_unit_range(images: Tensor) -> Tensor:
    """Return images as float in 0..1: uint8 are divided by 255, floats are taken as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def resized(images: Tensor, side: int) -> Tensor:
    """Return images [n, 3, side, side]; what shrinks is filtered first."""
    if images.shape[-2:] == (side, side):
        return images
    return F.interpolate(images, (side, side), mode="bilinear", align_corners=False, antialias=True)


def small_images(images: Tensor, side: int) -> Tensor:
    """Return images [n, 3, side, side] uint8 of images [n, 3, H, W] uint8."""
    if images.shape[-2:] == (side, side):
        return images
    parts = (resized(in_unit_range(part), side) for part in images.split(BATCH))
    return torch.cat([(part.clamp(0, 1) * 255 + 0.5).to(torch.uint8) for part in parts])


def package_network(package: Path, name: str = "mobilenet") -> FeatureNetwork:
    """Read a network out of the npm package nsfwjs, given as its .tgz archive or unpacked.

    Raises:
        InvalidRequest: there is no network of this name.
        UnreadableFile: the file is not the package, or is damaged.
    """
    if name not in PACKAGE_NETWORKS:
        raise InvalidRequest(f"There is no feature network {name!r}: choose one of {', '.join(PACKAGE_NETWORKS)}.")
    folder, layer, label, side = PACKAGE_NETWORKS[name]
    folder = f"dist/models/{folder}/"
    files = _package_files(package, folder)
    try:
        version = json.loads(files["package.json"])["version"]
        model = _literal(_exported(files[f"{folder}model.min.js"]))
        manifest = model["weightsManifest"]
        shards = [f"{folder}{path.removesuffix('.min.js')}.min.js" for group in manifest for path in group["paths"]]
        data = b"".join(base64.b64decode(_exported(files[shard]).strip('"'), validate=True) for shard in shards)
        network = LayersModel(model["modelTopology"]["model_config"]["config"], dequantised(manifest, data), layer)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise UnreadableFile(
            f"{package} does not hold the networks of nsfwjs as expected ({error}). Get it anew: {HOW_TO_GET}."
        ) from error
    name = f"{label} of nsfwjs {version}, mean of {layer} at {side}²"
    return FeatureNetwork(
        name, side, lambda images: network(images.contiguous(memory_format=torch.channels_last)).mean((2, 3))
    )


def learnt_network(
    images: Tensor, objects: Tensor | None, angles: Tensor | None, progress: Progress = silent
) -> FeatureNetwork:
    """Train the small network of `backend.training.features` on images [n, 3, side, side] uint8: some minutes.

    objects: which object an image shows [n]. angles: azimuth and elevation [n, 2], radians.
    """
    groups = torch.arange(len(images)) if objects is None else objects
    return own_network(train_features(small_images(images, 64), groups, angles, progress=progress), images)


def own_network(network: ImageFeatures, images: Tensor) -> FeatureNetwork:
    """Return a network of `backend.training.features` as a FeatureNetwork.

    Each feature is standardised on some of the images [n, 3, side, side] that it was trained on, as KID's kernel is
    not invariant to scale.
    """
    plain = FeatureNetwork("", 64, lambda images: network(2 * images - 1))
    known = plain(images[:: max(1, len(images) // 2048)])
    mean, scale = known.mean(0), known.std(0) + 1e-6
    name = "64 features of a network trained on these images (backend/training/features.py)"
    return FeatureNetwork(name, 64, lambda images: (plain.compute(images) - mean) / scale)


def _package_files(package: Path, folder: str) -> dict[str, str]:
    """Return the text of package.json and of the files in a folder of the package, by their paths in it."""
    try:
        if package.is_dir():
            root = package if (package / "package.json").is_file() else package / "package"
            paths = [root / "package.json", *(root / folder).iterdir()]
            return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
        found = {}
        with tarfile.open(package) as archive:
            for member in archive:
                name = member.name.removeprefix("package/")
                if (name == "package.json" or name.startswith(folder)) and (file := archive.extractfile(member)):
                    found[name] = file.read().decode()
        return found
    except (OSError, tarfile.TarError, EOFError, UnicodeDecodeError) as error:
        raise UnreadableFile(
            f"{package} cannot be read ({error}). Give the npm package nsfwjs, its .tgz or its folder: {HOW_TO_GET}."
        ) from error


def _exported(script: str) -> str:
    """Return the literal that a bundled script's one module exports. The script is not run."""
    found = re.search(r"\(\{1:\[function\([\w$,]*\)\{[\w$]+\.exports=(.*)\},\{\}\]\},\{\},\[1\]\)", script, re.DOTALL)
    if found is None:
        raise ValueError("a script exports nothing")
    return found[1]


def _literal(text: str) -> Any:
    """Read a minified JavaScript literal of objects, lists, strings, numbers, booleans and null."""
    strings_keys_numbers = r'("(?:[^"\\]|\\.)*")|([A-Za-z_$][\w$]*)(?=:)|(?<![\w.])\.(?=\d)|!0|!1'
    words = {"!0": "true", "!1": "false", ".": "0."}
    json_text = re.sub(
        strings_keys_numbers, lambda found: found[1] or (f'"{found[2]}"' if found[2] else words[found[0]]), text
    )
    return json.loads(json_text)
