// Gradients of the planes of one image and of the parameters, added to those at to_planes_at and total_at, given that
// of the result [num_rays][FEATURES + 2]. Everything is computed again.
const float* planes = (const float*)planes_at;
const float* origins = (const float*)origins_at;
const float* directions = (const float*)directions_at;
const float* distances = (const float*)distances_at;
float *to_planes = (float*)to_planes_at, *total = (float*)total_at;
#include "triplane_rendering/biases.inl"
float outputs[SAMPLES * OUTPUTS * TILE], to_outputs[SAMPLES * OUTPUTS * TILE];
float* const kept = (float*)scratch_at; // of every sample: features, hidden layer and its slopes
for (int next = 0; next < num_rays;) {
#include "triplane_rendering/next_rays.inl"
    for (int n = 0; n < SAMPLES; ++n) {
#include "triplane_rendering/evaluate.inl"
        float* keep = kept + n * (CHANNELS + 2 * HIDDEN) * TILE;
        __builtin_memcpy(keep, plane_features, sizeof(plane_features));
        __builtin_memcpy(keep + CHANNELS * TILE, hidden, sizeof(hidden));
        __builtin_memcpy(keep + (CHANNELS + HIDDEN) * TILE, hidden_slopes, sizeof(hidden_slopes));
    }
    float given[(FEATURES + 2) * TILE] = {};
    for (int s = 0; s < count; ++s)
        for (int c = 0; c < FEATURES + 2; ++c)
            given[c * TILE + s] = ((const float*)gradient_at)[(size_t)rays[s] * (FEATURES + 2) + c];

    // Compositing: front to back for the weights, back to front for the gradient of the optical thickness,
    // dL/dw_n · T_{n+1} − Σ_{m>n} dL/dw_m · w_m.
    float light[TILE], weights[SAMPLES * TILE], behind[SAMPLES * TILE], slopes[SAMPLES * TILE], to_behind[TILE] = {};
    for (int s = 0; s < TILE; ++s) light[s] = 1.0f;
    for (int n = 0; n + 1 < SAMPLES; ++n) {
#include "triplane_rendering/interval.inl"
        for (int s = 0; s < TILE; ++s) {
            weights[n * TILE + s] = light[s] * (1.0f - passing[s]);
            light[s] *= passing[s];
            behind[n * TILE + s] = light[s];
            slopes[n * TILE + s] = density_slope[s] * (t_here[TILE + s] - t_here[s]);
        }
    }
    for (int i = 0; i < SAMPLES * OUTPUTS * TILE; ++i) to_outputs[i] = 0.0f;
    for (int n = SAMPLES - 2; n >= 0; --n) {
        const float *here = outputs + n * OUTPUTS * TILE, *there = here + OUTPUTS * TILE;
        float *to_here = to_outputs + n * OUTPUTS * TILE, *to_there = to_here + OUTPUTS * TILE;
        const float *weight = weights + n * TILE, *t_here = t + n * TILE;
        float to_weight[TILE];
        for (int s = 0; s < TILE; ++s)
            to_weight[s] =
                given[FEATURES * TILE + s] + given[(FEATURES + 1) * TILE + s] * 0.5f * (t_here[s] + t_here[TILE + s]);
        for (int c = 0; c < FEATURES; ++c)
            for (int s = 0; s < TILE; ++s) {
                const int i = (c + 1) * TILE + s;
                const float half = 0.5f * given[c * TILE + s];
                to_weight[s] += half * (here[i] + there[i]);
                to_here[i] += half * weight[s];
                to_there[i] += half * weight[s];
            }
        for (int s = 0; s < TILE; ++s) {
            const float to_thickness = to_weight[s] * behind[n * TILE + s] - to_behind[s];
            const float half = 0.5f * to_thickness * slopes[n * TILE + s];
            to_behind[s] += to_weight[s] * weight[s];
            to_here[s] += half;
            to_there[s] += half;
        }
    }

    // The decoder, and the planes.
    for (int n = 0; n < SAMPLES; ++n) {
        const float *made = outputs + n * OUTPUTS * TILE, *keep = kept + n * (CHANNELS + 2 * HIDDEN) * TILE;
        const float *plane_features = keep, *hidden = keep + CHANNELS * TILE, *hidden_slopes = hidden + HIDDEN * TILE;
        float* to_made = to_outputs + n * OUTPUTS * TILE;
        float largest = 0.0f;
        for (int i = 0; i < (FEATURES + 1) * TILE; ++i) {
            const float size = to_made[i] > 0.0f ? to_made[i] : -to_made[i];
            largest = size > largest ? size : largest;
        }
        if (largest == 0.0f) continue; // hidden behind something opaque
        for (int i = TILE; i < (FEATURES + 1) * TILE; ++i) {
            const float sigmoid = (made[i] + 0.001f) * (1.0f / 1.002f);
            to_made[i] *= 1.002f * sigmoid * (1.0f - sigmoid);
        }
        for (int j = 0; j < FEATURES + 1; ++j)
            for (int s = 0; s < TILE; ++s) total[BIASES_2 + j] += to_made[j * TILE + s];
#define INPUT hidden
#define GRADIENT to_made
#define TOTAL total + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS OUTPUTS
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_hidden
#define GRADIENT to_made
#define WEIGHTS parameters + WEIGHTS_2
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS OUTPUTS
#include "cpp_snippets/layer_inputs_gradient.inl"
        for (int i = 0; i < HIDDEN * TILE; ++i) to_hidden[i] *= hidden_slopes[i];
        for (int j = 0; j < HIDDEN; ++j) {
            float sum = 0.0f;
            for (int s = 0; s < TILE; ++s) {
#pragma clang fp reassociate(on)
                sum += to_hidden[j * TILE + s];
            }
            total[BIASES_1 + j] += sum;
        }
#define INPUT plane_features
#define GRADIENT to_hidden
#define TOTAL total
#define NUM_INPUTS CHANNELS
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_weights_gradient.inl"
#define OUTPUT to_features
#define GRADIENT to_hidden
#define WEIGHTS parameters
#define NUM_INPUTS CHANNELS
#define NUM_OUTPUTS HIDDEN
#include "cpp_snippets/layer_inputs_gradient.inl"
        float xs[TILE], ys[TILE], zs[TILE];
        for (int s = 0; s < TILE; ++s) {
            const float at = t[n * TILE + s];
            xs[s] = ox[s] + at * dx[s], ys[s] = oy[s] + at * dy[s], zs[s] = oz[s] + at * dz[s];
        }
#include "triplane_rendering/planes_gradient.inl"
    }
}
