// Add to the gradient of one level of the table, given that of the features of the points start..end: one point for
// each thread, atomically.
#include "hash_encoding/level.inl"
float* entries = (float*)total_at + level_offset * CHANNELS;
unsigned char* touched = touched_at ? (unsigned char*)touched_at + level_offset / 8 : nullptr;
const float* gradient = (const float*)gradient_at + (size_t)level * CHANNELS;
for (int first = start; first < end; ++first) {
#define NUM_POINTS 1
#include "hash_encoding/tile_points.inl"
#define NUM_POINTS 1
#include "hash_encoding/corners.inl"
    for (int corner = 0; corner < 8; ++corner) {
#define NUM_POINTS 1
#include "hash_encoding/corner_index.inl"
        const float w = wx[0] * wy[0] * wz[0];
        const float* g = gradient + (size_t)first * WIDTH;
        float* entry = entries + (size_t)index[0] * CHANNELS;
        for (int f = 0; f < CHANNELS; ++f) wp::atomic_add(entry + f, w * g[f]);
        if (touched) touched[index[0] >> 3] = 1;
    }
}
