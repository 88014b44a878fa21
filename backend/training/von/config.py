"""Training the texture of Visual Object Networks, the loop of the lecture (arxiv.org/abs/1812.02725, Sec. 3.3):
pictures on one side, 2.5D sketches of voxels on the other, and nothing that says which belong together.

G paints a sketch with a texture code, F sketches a picture, E reads a picture's texture code; D judges pictures, D_s
sketches. For a sketch s of a random shape and view, a random code z, and a picture x:

    adversarial     D(G(s, z)) real, D_s(F(x)) real                 least squares
    cycle           |F(G(s, z)) - s|,  |G(F(x), E(x)) - x|          the same twice over
    code            |E(G(s, z)) - z|                                the picture tells its code
    prior           KL(E(x) | N(0, 1))                              codes of pictures lie where codes are drawn

`paired` adds a term that the paper does not have, that of a conditional VAE-GAN: |G(s(x), E(x)) - x| with the sketch
of the picture's own shape and pose, where the data know it. It is 0 in the published loss.

The sketches are projections of voxels, as they will be when shapes come from a 3D-GAN: the texture network never sees
another kind of sketch than the one it is used on. The network that is kept is the running mean of G's weights.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VONTraining:
    """One training run of the texture networks. Stored whole in its checkpoint."""

    z_dim: int = 8
    width: int = 64  # of G
    encoder_width: int = 64
    sketch_width: int = 64
    discriminator_width: int = 64
    blocks: int = 3  # residual blocks on either side of the code
    steps: int = 200_000
    batch: int = 8
    rate: float = 2e-4  # Adam, betas 0.5 and 0.999
    final_rate: float = 0.1  # it falls to this fraction in the last third
    image_cycle: float = 10.0
    sketch_cycle: float = 10.0
    code: float = 1.0
    prior: float = 1e-2
    paired: float = 0.0  # a conditional VAE-GAN's term, which the paper does not have
    mean_decay: float = 0.999
    seed: int = 0


def published() -> VONTraining:
    """Widths and weights of the paper's size, for an accelerator."""
    return VONTraining()


def small() -> VONTraining:
    """The starter model: under an hour on one shared CPU core."""
    return VONTraining(
        width=8, encoder_width=8, sketch_width=8, discriminator_width=16, blocks=2, steps=1160, batch=4, rate=8e-4,
        mean_decay=0.99,
    )  # fmt: skip
