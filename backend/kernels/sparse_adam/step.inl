// One step of Adam (arxiv.org/abs/1412.6980, Alg. 1) for the flagged groups start..end, each WIDTH numbers; clears
// their gradient and flags.
unsigned char* touched = (unsigned char*)touched_at;
for (int group = start; group < end; ++group) {
    if (!touched[group]) continue;
    touched[group] = 0;
    const size_t at = (size_t)group * WIDTH;
    float* __restrict x = (float*)table_at + at;
    float* __restrict g = (float*)gradient_at + at;
    float* __restrict m = (float*)mean_at + at;
    float* __restrict v = (float*)square_at + at;
    for (int i = 0; i < WIDTH; ++i) {
        m[i] = beta1 * m[i] + (1.0f - beta1) * g[i];
        v[i] = beta2 * v[i] + (1.0f - beta2) * g[i] * g[i];
        x[i] -= rate * m[i] / (__builtin_sqrtf(v[i] * correction) + epsilon);
        g[i] = 0.0f;
    }
}
