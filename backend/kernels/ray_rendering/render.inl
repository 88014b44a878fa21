// Pixels [R][5] of rays, in waves: see fused.py.
// Of each ray in the pool: where it is (simd_packet.inl); its samples so far; transmittance behind all of them, and
// behind finished groups; the bin of opacity in which the next sample begins; sum of w t. All floats, counts too, so
// that a vector holds them.
// clang-format off
#define RAY_FIELDS(X) \
    X(origin_x) X(origin_y) X(origin_z) X(direction_x) X(direction_y) X(direction_z) X(inverse_x) X(inverse_y) \
    X(inverse_z) X(t_begin) X(t_end) X(t_now) X(num_steps) X(num_samples) X(transmittance) X(group_transmittance) \
    X(opacity_bin) X(depth)
// clang-format on
// Vectors may reach beyond the last ray or sample.
#define RAYS (POOL + LANES)
#define SAMPLES (POOL * AHEAD + LANES)
#define DECLARE(FIELD) float FIELD[RAYS];
struct Scratch {
    RAY_FIELDS(DECLARE)
    float group_sum[RAYS * GEOMETRY]; // sum of w geometry of the group that is not finished
    float view_layer[RAYS * HIDDEN];  // view_layer.inl
    float xs[SAMPLES], ys[SAMPLES], zs[SAMPLES], depths[SAMPLES], lengths[SAMPLES];
    float features[POOL * AHEAD * WIDTH];
    float queued_weights[QUEUE], queued_means[QUEUE * GEOMETRY], queued_view_layers[QUEUE * HIDDEN];
};
static_assert(sizeof(Scratch) == 4 * SCRATCH, "fused.py allocates as much");
Scratch& scratch = *(Scratch*)scratch_at;
#define POINTER(FIELD) float* const FIELD = scratch.FIELD;
RAY_FIELDS(POINTER)
float* const group_sum = scratch.group_sum;
float* const view_layer = scratch.view_layer;
float* const xs = scratch.xs;
float* const ys = scratch.ys;
float* const zs = scratch.zs;
float* const depths = scratch.depths;
float* const lengths = scratch.lengths;
float* const features = scratch.features;
float* const queued_weights = scratch.queued_weights;
float* const queued_means = scratch.queued_means;
float* const queued_view_layers = scratch.queued_view_layers;
int rays[RAYS], slots[SAMPLES], queued_rays[QUEUE];
const float* origins = (const float*)origins_at;
const float* directions = (const float*)directions_at;
const float* near = (const float*)near_at;
const float* far = (const float*)far_at;
const float* jitter = (const float*)jitter_at;
const float* parameters = (const float*)parameters_at;
const unsigned char* bits = (const unsigned char*)bits_at;
const unsigned char* empty = (const unsigned char*)empty_at;
float* pixels = (float*)pixels_at;
const float bins = 1.0f / faintest;
#include "ray_marching/simd_packet.inl"
#include "ray_rendering/groups.inl"
#include "ray_rendering/pool.inl"
for (;;) {
    retire_rays();
    add_rays();
    if (active == 0) break;
#include "ray_rendering/wave_samples.inl"
#define OUTPUT features
#include "hash_encoding/encode_wave.inl"
#include "ray_rendering/composite_wave.inl"
}
color_queue();
#undef RAY_FIELDS
#undef RAYS
#undef SAMPLES
#undef DECLARE
#undef POINTER
