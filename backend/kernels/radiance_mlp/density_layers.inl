// Density alone, from x [INPUTS][TILE]: density [TILE] before its activation.
#include "radiance_mlp/hidden_layer.inl"
float density[TILE] = {};
for (int k = 0; k < HIDDEN; ++k) {
    const float w = parameters[WEIGHTS_2 + k * GEOMETRY];
    for (int s = 0; s < TILE; ++s) density[s] += w * h1[k * TILE + s];
}
