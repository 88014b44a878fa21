// A tile of points xs, ys, zs [TILE]: their plane_features [CHANNELS][TILE]; hidden layer and its slopes
// [HIDDEN][TILE]; `made` [OUTPUTS][TILE]: density before its activation, and colours.
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
for (int s = 0; s < TILE; ++s) made[s] = logits[s];
float negative[FEATURES * TILE];
for (int i = 0; i < FEATURES * TILE; ++i) negative[i] = -logits[TILE + i];
#define VALUES negative
#define NUM_VALUES (FEATURES * TILE)
#include "cpp_snippets/exponential.inl"
for (int i = 0; i < FEATURES * TILE; ++i) made[TILE + i] = 1.002f / (1.0f + negative[i]) - 0.001f;
