// Where the samples of a tile, xs, ys, zs [TILE], lie in the planes: for each axis the two nearest rows and their
// shares, which are 0 outside. CORNERS declares the four corners of a sample in one plane, a third of each.
float low_share[3][TILE], high_share[3][TILE];
int low[3][TILE], high[3][TILE];
for (int axis = 0; axis < 3; ++axis) {
    const float* at = axis == 0 ? xs : axis == 1 ? ys : zs;
    for (int s = 0; s < TILE; ++s) {
        float position = (at[s] * scale + 1.0f) * (0.5f * RESOLUTION) - 0.5f;
        position = position > -2.0f ? position : -2.0f; // so that an int can hold it
        position = position < RESOLUTION + 1.0f ? position : RESOLUTION + 1.0f;
        const int first = (int)(position + 2.0f) - 2, second = first + 1; // rounded down
        const float share = position - (float)first;
        low_share[axis][s] = first >= 0 && first < RESOLUTION ? 1.0f - share : 0.0f;
        high_share[axis][s] = second >= 0 && second < RESOLUTION ? share : 0.0f;
        low[axis][s] = first < 0 ? 0 : first > RESOLUTION - 1 ? RESOLUTION - 1 : first;
        high[axis][s] = second < 0 ? 0 : second > RESOLUTION - 1 ? RESOLUTION - 1 : second;
    }
}
#define ROW(PLANE, X, Y) (((Y) * RESOLUTION + (X)) * 3 + (PLANE)) * CHANNELS
#define CORNERS(PLANE, ACROSS, DOWN)                                                                                   \
    const int row##PLANE##0 = ROW(PLANE, low[ACROSS][s], low[DOWN][s]);                                                \
    const int row##PLANE##1 = ROW(PLANE, high[ACROSS][s], low[DOWN][s]);                                               \
    const int row##PLANE##2 = ROW(PLANE, low[ACROSS][s], high[DOWN][s]);                                               \
    const int row##PLANE##3 = ROW(PLANE, high[ACROSS][s], high[DOWN][s]);                                              \
    const float above##PLANE = low_share[DOWN][s] * (1.0f / 3), below##PLANE = high_share[DOWN][s] * (1.0f / 3);       \
    const float share##PLANE##0 = low_share[ACROSS][s] * above##PLANE;                                                 \
    const float share##PLANE##1 = high_share[ACROSS][s] * above##PLANE;                                                \
    const float share##PLANE##2 = low_share[ACROSS][s] * below##PLANE;                                                 \
    const float share##PLANE##3 = high_share[ACROSS][s] * below##PLANE;
#define ALL_CORNERS CORNERS(0, ACROSS_0, DOWN_0) CORNERS(1, ACROSS_1, DOWN_1) CORNERS(2, ACROSS_2, DOWN_2)
