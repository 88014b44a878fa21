// Colour network, from geometry [GEOMETRY][TILE] and the view of each sample's ray: c0 (both), c1, c2, and rgb
// [4][TILE] before its activation. Past `count`, the last sample's view again.
float c0[(GEOMETRY + VIEW) * TILE];
for (int k = 0; k < GEOMETRY * TILE; ++k) c0[k] = geometry[k];
for (int s = 0; s < TILE; ++s) {
    const int ray = ((const int*)rays_at)[first + (s < count ? s : count - 1)];
    const float* from = (const float*)view_at + (size_t)ray * VIEW;
    for (int k = 0; k < VIEW; ++k) c0[(GEOMETRY + k) * TILE + s] = from[k];
}
#define OUTPUT c1
#define INPUT c0
#define WEIGHTS parameters + WEIGHTS_3
#define NUM_INPUTS (GEOMETRY + VIEW)
#define NUM_OUTPUTS HIDDEN
#define RELU
#include "cpp_snippets/layer.inl"
#include "radiance_mlp/last_color_layers.inl"
