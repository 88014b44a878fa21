// Features [.., WIDTH] of one level, of the points start..end: one point for each thread.
#include "hash_encoding/level.inl"
const float* entries = (const float*)table_at + level_offset * CHANNELS;
float* features = (float*)features_at + (size_t)level * CHANNELS;
for (int first = start; first < end; ++first) {
#define NUM_POINTS 1
#include "hash_encoding/tile_points.inl"
#define NUM_POINTS 1
#include "hash_encoding/corners.inl"
    float sum[CHANNELS] = {};
    for (int corner = 0; corner < 8; ++corner) {
#define NUM_POINTS 1
#include "hash_encoding/corner_index.inl"
        const float w = wx[0] * wy[0] * wz[0];
        const float* entry = entries + (size_t)index[0] * CHANNELS;
        for (int f = 0; f < CHANNELS; ++f) sum[f] += w * entry[f];
    }
    for (int f = 0; f < CHANNELS; ++f) features[(size_t)first * WIDTH + f] = sum[f];
}
