// Colour network, from geometry [GEOMETRY][TILE] and view_layers [HIDDEN][TILE], view_layer.inl of each sample's ray:
// c1, c2, and rgb [4][TILE] before its activation.
#define OUTPUT c1
#define INPUT geometry
#define WEIGHTS parameters + WEIGHTS_3
#define NUM_INPUTS GEOMETRY
#define NUM_OUTPUTS HIDDEN
#define INITIAL view_layers
#define RELU
#include "cpp_snippets/layer.inl"
#include "radiance_mlp/last_color_layers.inl"
