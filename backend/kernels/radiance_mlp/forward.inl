// Density before its activation and colour before its sigmoid, raw [N][4], of the samples start..end.
const float* parameters = (const float*)parameters_at;
for (int first = start; first < end; first += TILE) {
    const int count = end - first < TILE ? end - first : TILE;
#include "radiance_mlp/tile_inputs.inl"
#include "radiance_mlp/geometry_layers.inl"
#include "radiance_mlp/color_layers.inl"
    float* raw = (float*)raw_at + (size_t)first * 4;
    for (int s = 0; s < count; ++s) {
        raw[4 * s] = geometry[s];
        for (int c = 0; c < 3; ++c) raw[4 * s + 1 + c] = rgb[c * TILE + s];
    }
}
