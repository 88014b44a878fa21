// Density before its activation [num_points] and colours [num_points][FEATURES] at points [num_points][3].
const float* planes = (const float*)planes_at;
#include "triplane_rendering/biases.inl"
for (int first = 0; first < num_points; first += TILE) {
    const int count = num_points - first < TILE ? num_points - first : TILE;
    float xs[TILE], ys[TILE], zs[TILE], made[OUTPUTS * TILE];
    for (int s = 0; s < TILE; ++s) {
        const float* point = (const float*)points_at + (size_t)(first + (s < count ? s : count - 1)) * 3;
        xs[s] = point[0], ys[s] = point[1], zs[s] = point[2];
    }
#include "triplane_rendering/decode.inl"
    __builtin_memcpy((float*)density_at + first, made, 4 * count);
#define OUTPUT colors
#define INPUT (made + TILE)
#define NUM_ROWS FEATURES
#define NUM_COLUMNS TILE
#include "cpp_snippets/transpose.inl"
    __builtin_memcpy((float*)colors_at + (size_t)first * FEATURES, colors, sizeof(float) * FEATURES * count);
}
