// Makes `finish_group(slot)`: the sums of a ray's samples since its last group are a group and wait in the queue; and
// `color_queue()`, which evaluates the colour network for the groups in the queue, adds them to their pixels and
// empties it. See grouping.py.
int num_queued = 0;
auto color_queue = [&]() {
    for (int first = 0; first < num_queued; first += TILE) {
#define OUTPUT geometry
#define INPUT (queued_means + GEOMETRY * first)
#define NUM_ROWS TILE
#define NUM_COLUMNS GEOMETRY
#include "cpp_snippets/transpose.inl"
#define OUTPUT view_layers
#define INPUT (queued_view_layers + HIDDEN * first)
#define NUM_ROWS TILE
#define NUM_COLUMNS HIDDEN
#include "cpp_snippets/transpose.inl"
#include "radiance_mlp/color_layers_of_rays.inl"
        for (int k = 0; k < 3 * TILE; ++k) rgb[k] = -rgb[k];
#define VALUES rgb
#define NUM_VALUES 3 * TILE
#include "cpp_snippets/exponential.inl"
        for (int k = 0; k < 3 * TILE; ++k) rgb[k] = 1.0f / (1.0f + rgb[k]);
        for (int s = 0; s < TILE && first + s < num_queued; ++s) {
            float* pixel = pixels + 5 * (size_t)queued_rays[first + s];
            for (int c = 0; c < 3; ++c) pixel[c] += queued_weights[first + s] * rgb[c * TILE + s];
        }
    }
    num_queued = 0;
};
auto finish_group = [&](int slot) {
    if (group_transmittance[slot] == 1.0f) { // the first group of this ray: each group takes some light
        float view[VIEW];
#define OUTPUT view
#define DIRECTION directions + 3 * (size_t)rays[slot]
#define NUM_DIRECTIONS 1
#include "cpp_snippets/spherical_harmonics.inl"
#define OUTPUT made
#include "radiance_mlp/view_layer.inl"
        __builtin_memcpy(view_layer + HIDDEN * slot, made, sizeof(made));
    }
    const float weight = group_transmittance[slot] - transmittance[slot], scale = 1.0f / weight;
    group_transmittance[slot] = transmittance[slot];
    float* sum = group_sum + GEOMETRY * slot;
    float mean[GEOMETRY];
    for (int k = 0; k < GEOMETRY; ++k) mean[k] = sum[k] * scale;
    __builtin_memset(sum, 0, sizeof(mean));
    __builtin_memcpy(queued_means + GEOMETRY * num_queued, mean, sizeof(mean));
    __builtin_memcpy(queued_view_layers + HIDDEN * num_queued, view_layer + HIDDEN * slot, 4 * HIDDEN);
    queued_weights[num_queued] = weight;
    queued_rays[num_queued] = rays[slot];
    if (++num_queued == QUEUE) color_queue();
};
