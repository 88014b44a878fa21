// Gradients of the features, of each sample's view (where to_view_at is not null) and of the parameters (added to those
// at total_at), given that of raw [N][4], of the samples start..end. The hidden layers are computed again.
float* total = (float*)total_at;
const float* parameters = (const float*)parameters_at;
for (int first = start; first < end; first += TILE) {
    const int count = end - first < TILE ? end - first : TILE;
#include "radiance_mlp/tile_inputs.inl"
#include "radiance_mlp/geometry_layers.inl"
#include "radiance_mlp/color_layers.inl"
    const float* given = (const float*)gradient_at + (size_t)first * 4;
    float to_rgb[4 * TILE] = {}, to_density[TILE] = {};
    for (int s = 0; s < count; ++s) {
        to_density[s] = given[4 * s];
        for (int c = 0; c < 3; ++c) to_rgb[c * TILE + s] = given[4 * s + 1 + c];
    }

    // The colour network, last layer first.
#define INPUT c2
#define GRADIENT to_rgb
#define TOTAL total + WEIGHTS_5
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS 4
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_c2
#define GRADIENT to_rgb
#define WEIGHTS parameters + WEIGHTS_5
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS 4
#define ACTIVATION c2
#include "cpp_snippets/layer_inputs_gradient.inl"
#define INPUT c1
#define GRADIENT to_c2
#define TOTAL total + WEIGHTS_4
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_c1
#define GRADIENT to_c2
#define WEIGHTS parameters + WEIGHTS_4
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS HIDDEN
#define ACTIVATION c1
#include "cpp_snippets/layer_inputs_gradient.inl"
#define INPUT c0
#define GRADIENT to_c1
#define TOTAL total + WEIGHTS_3
#define NUM_INPUTS (GEOMETRY + VIEW)
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_c0
#define GRADIENT to_c1
#define WEIGHTS parameters + WEIGHTS_3
#define NUM_INPUTS (GEOMETRY + VIEW)
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_inputs_gradient.inl"
    if (to_view_at)
        for (int s = 0; s < count; ++s)
            for (int k = 0; k < VIEW; ++k)
                ((float*)to_view_at)[(size_t)(first + s) * VIEW + k] = to_c0[(GEOMETRY + k) * TILE + s];

    // The density network.
    for (int s = 0; s < TILE; ++s) to_c0[s] += to_density[s];
#define INPUT h1
#define GRADIENT to_c0
#define TOTAL total + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS GEOMETRY
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_h1
#define GRADIENT to_c0
#define WEIGHTS parameters + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS GEOMETRY
#define ACTIVATION h1
#include "cpp_snippets/layer_inputs_gradient.inl"
#define INPUT x
#define GRADIENT to_h1
#define TOTAL total
#define NUM_INPUTS INPUTS
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_x
#define GRADIENT to_h1
#define WEIGHTS parameters
#define NUM_INPUTS INPUTS
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_inputs_gradient.inl"
    for (int s = 0; s < count; ++s) {
        float* to = (float*)to_features_at + (size_t)(first + s) * INPUTS;
        for (int k = 0; k < INPUTS; ++k) to[k] = to_x[k * TILE + s];
    }
}
