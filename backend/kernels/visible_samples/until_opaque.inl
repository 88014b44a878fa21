// Features and density along rays until they are opaque, in waves: see fused.py. POOL rays of a thread go AHEAD samples
// on in a wave of WAVE = POOL * AHEAD samples.
const float* points = (const float*)points_at;
const float* lengths = (const float*)lengths_at;
const int* offsets = (const int*)offsets_at;
const float* parameters = (const float*)parameters_at;
float* features = (float*)features_at;
float* densities = (float*)densities_at;
float* const xs = (float*)scratch_at;
float* const ys = xs + WAVE;
float* const zs = ys + WAVE;
float* const encoded = zs + WAVE; // [tile][level, channel][TILE]
int rows[WAVE], slots[WAVE], next[POOL], stop[POOL], active = 0;
float thickness[POOL];
bool more = true;
for (;;) {
    for (int slot = 0; slot < active;) {
        if (next[slot] < stop[slot] && !(thickness[slot] >= limit)) {
            ++slot;
            continue;
        }
        --active; // the last one takes its place
        next[slot] = next[active];
        stop[slot] = stop[active];
        thickness[slot] = thickness[active];
    }
    while (more && active < POOL) {
        const int ray = __atomic_fetch_add((int*)next_ray_at, 1, __ATOMIC_RELAXED);
        more = ray + 1 < count;
        if (ray >= count || offsets[ray] == offsets[ray + 1]) continue;
        next[active] = offsets[ray];
        stop[active] = offsets[ray + 1];
        thickness[active++] = 0.0f;
    }
    if (active == 0) break;
    int n = 0;
    for (int slot = 0; slot < active; ++slot)
        for (int i = 0; i < AHEAD && next[slot] < stop[slot]; ++i, ++n) {
            const float* p = points + 3 * (size_t)next[slot];
            xs[n] = p[0] > 0.0f ? (p[0] < 1.0f ? p[0] : 1.0f) : 0.0f;
            ys[n] = p[1] > 0.0f ? (p[1] < 1.0f ? p[1] : 1.0f) : 0.0f;
            zs[n] = p[2] > 0.0f ? (p[2] < 1.0f ? p[2] : 1.0f) : 0.0f;
            slots[n] = slot;
            rows[n] = next[slot]++;
        }
#define OUTPUT encoded
#include "hash_encoding/encode_wave.inl"
    for (int first = 0; first < n; first += TILE) {
        const float* x = encoded + (size_t)first * WIDTH;
#include "radiance_mlp/density_layers.inl"
#define OUTPUT by_sample
#define INPUT x
#define NUM_ROWS WIDTH
#define NUM_COLUMNS TILE
#include "cpp_snippets/transpose.inl"
        float opaque[TILE];
        for (int s = 0; s < TILE; ++s) opaque[s] = density[s] > LARGEST_EXPONENT ? LARGEST_EXPONENT : density[s];
#define VALUES opaque
#define NUM_VALUES TILE
#include "cpp_snippets/exponential.inl"
        for (int s = 0; s < TILE && first + s < n; ++s) {
            const size_t row = rows[first + s];
            densities[row] = density[s];
            thickness[slots[first + s]] += opaque[s] * lengths[row];
            __builtin_memcpy(features + row * WIDTH, by_sample + s * WIDTH, 4 * WIDTH);
        }
    }
}
