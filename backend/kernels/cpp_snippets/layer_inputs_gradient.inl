// Gradient of a layer's inputs: OUTPUT [NUM_INPUTS][TILE] = GRADIENT [NUM_OUTPUTS][TILE] times the transpose of WEIGHTS
// [NUM_INPUTS][NUM_OUTPUTS]. Optional: zero where ACTIVATION [NUM_INPUTS][TILE], the inputs after their ReLU, is zero.
static_assert(NUM_INPUTS % 4 == 0, "the number of inputs must be a multiple of 4");
float OUTPUT[NUM_INPUTS * TILE];
for (int k = 0; k < NUM_INPUTS; k += 4) {
#pragma clang fp contract(fast)
    float sum[4][TILE] = {};
    const float* w = WEIGHTS + k * NUM_OUTPUTS;
    for (int j = 0; j < NUM_OUTPUTS; ++j) {
        const float w0 = w[j], w1 = w[j + NUM_OUTPUTS], w2 = w[j + 2 * NUM_OUTPUTS], w3 = w[j + 3 * NUM_OUTPUTS];
        for (int s = 0; s < TILE; ++s) {
            const float v = GRADIENT[j * TILE + s];
            sum[0][s] += w0 * v;
            sum[1][s] += w1 * v;
            sum[2][s] += w2 * v;
            sum[3][s] += w3 * v;
        }
    }
    for (int i = 0; i < 4; ++i)
        for (int s = 0; s < TILE; ++s) OUTPUT[(k + i) * TILE + s] = sum[i][s];
}
#ifdef ACTIVATION
for (int i = 0; i < NUM_INPUTS * TILE; ++i) OUTPUT[i] *= (float)(ACTIVATION[i] > 0.0f);
#endif
#undef OUTPUT
#undef GRADIENT
#undef WEIGHTS
#undef NUM_INPUTS
#undef NUM_OUTPUTS
#undef ACTIVATION
