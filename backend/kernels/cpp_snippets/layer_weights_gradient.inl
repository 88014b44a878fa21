// Gradient of a layer's weights: INPUT [NUM_INPUTS][TILE] times the transpose of GRADIENT [NUM_OUTPUTS][TILE], added to
// TOTAL [NUM_INPUTS][NUM_OUTPUTS]. GRADIENT is transposed first, so that the inner loop runs along a row of TOTAL.
static_assert(NUM_INPUTS % 2 == 0, "the number of inputs must be even");
#if NUM_OUTPUTS % 32 == 0
#define COLUMNS 32
#elif NUM_OUTPUTS % 16 == 0
#define COLUMNS 16
#else
#define COLUMNS 4
#endif
static_assert(NUM_OUTPUTS % COLUMNS == 0, "the number of outputs must be a multiple of 4");
{
    float transposed[NUM_OUTPUTS * TILE];
    for (int j = 0; j < NUM_OUTPUTS; ++j)
        for (int s = 0; s < TILE; ++s) transposed[s * NUM_OUTPUTS + j] = GRADIENT[j * TILE + s];
    for (int j = 0; j < NUM_OUTPUTS; j += COLUMNS)
        for (int k = 0; k < NUM_INPUTS; k += 2) {
#pragma clang fp contract(fast)
            float* row = TOTAL + k * NUM_OUTPUTS + j;
            float sum0[COLUMNS], sum1[COLUMNS];
            for (int i = 0; i < COLUMNS; ++i) {
                sum0[i] = row[i];
                sum1[i] = row[i + NUM_OUTPUTS];
            }
            for (int s = 0; s < TILE; ++s) {
                const float v0 = INPUT[k * TILE + s], v1 = INPUT[(k + 1) * TILE + s];
                const float* g = transposed + s * NUM_OUTPUTS + j;
                for (int i = 0; i < COLUMNS; ++i) {
                    sum0[i] += v0 * g[i];
                    sum1[i] += v1 * g[i];
                }
            }
            for (int i = 0; i < COLUMNS; ++i) {
                row[i] = sum0[i];
                row[i + NUM_OUTPUTS] = sum1[i];
            }
        }
}
#undef COLUMNS
#undef INPUT
#undef GRADIENT
#undef TOTAL
#undef NUM_INPUTS
#undef NUM_OUTPUTS
