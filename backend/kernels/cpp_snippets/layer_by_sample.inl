// One linear layer of a tile with the outputs of a sample side by side: OUTPUT [TILE][NUM_OUTPUTS] = INPUT
// [NUM_INPUTS][TILE] times WEIGHTS [NUM_INPUTS][NUM_OUTPUTS].
float OUTPUT[NUM_OUTPUTS * TILE];
for (int s = 0; s < TILE; s += 4) {
#pragma clang fp contract(fast)
    float sum[4][NUM_OUTPUTS] = {};
    for (int k = 0; k < NUM_INPUTS; ++k) {
        const float* w = WEIGHTS + k * NUM_OUTPUTS;
        const float* v = INPUT + k * TILE + s;
        const float v0 = v[0], v1 = v[1], v2 = v[2], v3 = v[3];
        for (int j = 0; j < NUM_OUTPUTS; ++j) {
            sum[0][j] += v0 * w[j];
            sum[1][j] += v1 * w[j];
            sum[2][j] += v2 * w[j];
            sum[3][j] += v3 * w[j];
        }
    }
    for (int i = 0; i < 4; ++i)
        for (int j = 0; j < NUM_OUTPUTS; ++j) OUTPUT[(s + i) * NUM_OUTPUTS + j] = sum[i][j];
}
#undef OUTPUT
#undef INPUT
#undef WEIGHTS
#undef NUM_INPUTS
#undef NUM_OUTPUTS
