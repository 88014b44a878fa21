// Density network, from x [INPUTS][TILE]: h1, and geometry [GEOMETRY][TILE], whose first channel is the density before
// its activation.
#include "radiance_mlp/hidden_layer.inl"
#define OUTPUT geometry
#define INPUT h1
#define WEIGHTS parameters + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS GEOMETRY
#include "cpp_snippets/layer.inl"
