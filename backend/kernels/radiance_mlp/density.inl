// Density before its activation, [N], of the samples start..end.
const float* parameters = (const float*)parameters_at;
for (int first = start; first < end; first += TILE) {
    const int count = end - first < TILE ? end - first : TILE;
#include "radiance_mlp/tile_inputs.inl"
#include "radiance_mlp/density_layers.inl"
    for (int s = 0; s < count; ++s) ((float*)density_at)[first + s] = density[s];
}
