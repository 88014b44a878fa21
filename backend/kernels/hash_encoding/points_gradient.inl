// Add one level's part to the gradient of the points start..end, given that of the features; LANES points at a time.
#include "hash_encoding/level.inl"
const float* entries = (const float*)table_at + level_offset * CHANNELS;
const float* gradient = (const float*)gradient_at + (size_t)level * CHANNELS;
float* result = (float*)result_at;
for (int first = start; first < end; first += LANES) {
    const int count = end - first < LANES ? end - first : LANES;
#define NUM_POINTS LANES
#include "hash_encoding/tile_points.inl"
#define NUM_POINTS LANES
#include "hash_encoding/corners.inl"
    float dx[LANES] = {}, dy[LANES] = {}, dz[LANES] = {};
    for (int corner = 0; corner < 8; ++corner) {
#define NUM_POINTS LANES
#include "hash_encoding/corner_index.inl"
        for (int s = 0; s < count; ++s) {
            const float* entry = entries + (size_t)index[s] * CHANNELS;
            const float* g = gradient + (size_t)(first + s) * WIDTH;
            float along = 0.0f;
            for (int f = 0; f < CHANNELS; ++f) along += g[f] * entry[f];
            dx[s] += (corner & 1 ? along : -along) * wy[s] * wz[s];
            dy[s] += (corner & 2 ? along : -along) * wx[s] * wz[s];
            dz[s] += (corner & 4 ? along : -along) * wx[s] * wy[s];
        }
    }
    for (int s = 0; s < count; ++s) {
        const float* p = (const float*)points_at + 3 * (size_t)(first + s);
        float* to = result + 3 * (size_t)(first + s);
        if (p[0] >= 0.0f && p[0] <= 1.0f) to[0] += scale * dx[s];
        if (p[1] >= 0.0f && p[1] <= 1.0f) to[1] += scale * dy[s];
        if (p[2] >= 0.0f && p[2] <= 1.0f) to[2] += scale * dz[s];
    }
}
