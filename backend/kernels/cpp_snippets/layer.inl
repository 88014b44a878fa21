// One linear layer of a tile: OUTPUT [NUM_OUTPUTS][TILE] = INPUT [NUM_INPUTS][TILE] times WEIGHTS
// [NUM_INPUTS][NUM_OUTPUTS]. Optional: INITIAL [NUM_OUTPUTS][TILE] is added; RELU follows. Four outputs at a time:
// their sums (4 x TILE) stay in registers over all inputs.
static_assert(NUM_OUTPUTS % 4 == 0, "the number of outputs must be a multiple of 4");
float OUTPUT[NUM_OUTPUTS * TILE];
for (int j = 0; j < NUM_OUTPUTS; j += 4) {
#pragma clang fp contract(fast)
    float sum[4][TILE] = {};
#ifdef INITIAL
    for (int i = 0; i < 4; ++i)
        for (int s = 0; s < TILE; ++s) sum[i][s] = INITIAL[(j + i) * TILE + s];
#endif
    for (int k = 0; k < NUM_INPUTS; ++k) {
        const float* w = WEIGHTS + k * NUM_OUTPUTS + j;
        const float w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        for (int s = 0; s < TILE; ++s) {
            const float v = INPUT[k * TILE + s];
            sum[0][s] += w0 * v;
            sum[1][s] += w1 * v;
            sum[2][s] += w2 * v;
            sum[3][s] += w3 * v;
        }
    }
    for (int i = 0; i < 4; ++i)
        for (int s = 0; s < TILE; ++s) {
            const float v = sum[i][s];
#ifdef RELU
            OUTPUT[(j + i) * TILE + s] = v < 0.0f ? 0.0f : v; // keeps NaN
#else
            OUTPUT[(j + i) * TILE + s] = v;
#endif
        }
}
#undef OUTPUT
#undef INPUT
#undef WEIGHTS
#undef NUM_INPUTS
#undef NUM_OUTPUTS
#undef INITIAL
#undef RELU
