// Composite a wave's samples, `n` of them, front to back: their density, the transmittance behind each, and the sums of
// their ray's group, which is finished where another bin of the opacity begins.
for (int first = 0; first < n; first += TILE) {
    const float* x = features + (size_t)first * WIDTH;
#include "radiance_mlp/hidden_layer.inl"
#define OUTPUT geometry
#define INPUT h1
#define WEIGHTS parameters + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS GEOMETRY
#include "cpp_snippets/layer_by_sample.inl"
    float density[TILE], passing[TILE];
    for (int s = 0; s < TILE; ++s) {
        const float raw = geometry[s * GEOMETRY];
        density[s] = raw > LARGEST_EXPONENT ? LARGEST_EXPONENT : raw;
    }
#define VALUES density
#define NUM_VALUES TILE
#include "cpp_snippets/exponential.inl"
    for (int s = 0; s < TILE; ++s) passing[s] = -density[s] * lengths[first + s];
#define VALUES passing
#define NUM_VALUES TILE
#include "cpp_snippets/exponential.inl"
    for (int s = 0; s < TILE && first + s < n; ++s) {
        const int slot = slots[first + s];
        const float before = transmittance[slot];
        if (before <= threshold) continue; // NaN goes on, to be noticed
        const float left = before * passing[s], behind = left <= threshold ? 0.0f : left, weight = before - behind;
        transmittance[slot] = behind;
        depth[slot] += weight * depths[first + s];
        float* sum = group_sum + GEOMETRY * slot;
        float total[GEOMETRY]; // not in place: the compiler cannot know that these never overlap
        for (int k = 0; k < GEOMETRY; ++k) total[k] = sum[k] + weight * geometry[s * GEOMETRY + k];
        __builtin_memcpy(sum, total, sizeof(total));
        const float bin = __builtin_floorf((1.0f - behind) * bins);
        if (opacity_bin[slot] == bin) continue;
        opacity_bin[slot] = bin;
        finish_group(slot);
    }
}
