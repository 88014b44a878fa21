// Composite the rays of one image: result [num_rays][FEATURES + 2], the weighted sums of features, of weights and of
// distances.
const float* planes = (const float*)planes_at;
const float* origins = (const float*)origins_at;
const float* directions = (const float*)directions_at;
const float* distances = (const float*)distances_at;
#include "triplane_rendering/biases.inl"
float outputs[SAMPLES * OUTPUTS * TILE];
for (int next = 0; next < num_rays;) {
#include "triplane_rendering/next_rays.inl"
    for (int n = 0; n < SAMPLES; ++n) {
#include "triplane_rendering/evaluate.inl"
    }
    float light[TILE], sum[(FEATURES + 2) * TILE] = {};
    for (int s = 0; s < TILE; ++s) light[s] = 1.0f;
    for (int n = 0; n + 1 < SAMPLES; ++n) {
#include "triplane_rendering/interval.inl"
        float weight[TILE];
        for (int s = 0; s < TILE; ++s) {
            weight[s] = light[s] * (1.0f - passing[s]);
            light[s] *= passing[s];
            sum[FEATURES * TILE + s] += weight[s];
            sum[(FEATURES + 1) * TILE + s] += weight[s] * 0.5f * (t_here[s] + t_here[TILE + s]);
        }
        for (int c = 0; c < FEATURES; ++c)
            for (int s = 0; s < TILE; ++s)
                sum[c * TILE + s] += weight[s] * 0.5f * (here[(c + 1) * TILE + s] + there[(c + 1) * TILE + s]);
    }
    for (int s = 0; s < count; ++s) {
        float* to = (float*)result_at + (size_t)rays[s] * (FEATURES + 2);
        for (int c = 0; c < FEATURES + 2; ++c) to[c] = sum[c * TILE + s];
    }
}
