// Sample n of TILE rays: its plane_features [CHANNELS][TILE]; hidden layer and its slopes [HIDDEN][TILE]; `made`
// [OUTPUTS][TILE]: density before its activation, and colours.
float xs[TILE], ys[TILE], zs[TILE];
for (int s = 0; s < TILE; ++s) {
    const float at = t[n * TILE + s];
    xs[s] = ox[s] + at * dx[s], ys[s] = oy[s] + at * dy[s], zs[s] = oz[s] + at * dz[s];
}
#include "triplane_rendering/sample_planes.inl"
#define OUTPUT hidden
#define INPUT plane_features
#define WEIGHTS parameters
#define NUM_INPUTS CHANNELS
#define NUM_OUTPUTS HIDDEN
#define INITIAL hidden_bias
#include "cpp_snippets/layer.inl"
float hidden_slopes[HIDDEN * TILE];
#define LOGITS hidden
#define SLOPES hidden_slopes
#define COUNT (HIDDEN * TILE)
#include "triplane_rendering/softplus.inl"
#define OUTPUT logits
#define INPUT hidden
#define WEIGHTS parameters + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS OUTPUTS
#define INITIAL output_bias
#include "cpp_snippets/layer.inl"
float* const made = outputs + n * OUTPUTS * TILE;
for (int s = 0; s < TILE; ++s) made[s] = logits[s];
float negative[FEATURES * TILE];
for (int i = 0; i < FEATURES * TILE; ++i) negative[i] = -logits[TILE + i];
#define VALUES negative
#define NUM_VALUES (FEATURES * TILE)
#include "cpp_snippets/exponential.inl"
for (int i = 0; i < FEATURES * TILE; ++i) made[TILE + i] = 1.002f / (1.0f + negative[i]) - 0.001f;
