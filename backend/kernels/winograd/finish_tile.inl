// WIDTH channels of one tile, from channel c on: rows first, then columns.
float half[4][6][WIDTH];
for (int x = 0; x < 6; ++x)
    for (int i = 0; i < WIDTH; ++i) {
        const float* at = tile + x * plane + c + i;
        const float m0 = at[0], m1 = at[6 * plane], m2 = at[12 * plane], m3 = at[18 * plane];
        const float m4 = at[24 * plane], m5 = at[30 * plane];
        const float even1 = m1 + m2, odd1 = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
        half[0][x][i] = m0 + even1 + even2;
        half[1][x][i] = odd1 + 2.0f * odd2;
        half[2][x][i] = even1 + 4.0f * even2;
        half[3][x][i] = odd1 + 8.0f * odd2 + m5;
    }
for (int y = 0; y < 4; ++y) {
    float made[4][WIDTH];
    for (int i = 0; i < WIDTH; ++i) {
        const float m0 = half[y][0][i], m1 = half[y][1][i], m2 = half[y][2][i], m3 = half[y][3][i];
        const float m4 = half[y][4][i], m5 = half[y][5][i];
        const float even1 = m1 + m2, odd1 = m1 - m2, even2 = m3 + m4, odd2 = m3 - m4;
        made[0][i] = m0 + even1 + even2;
        made[1][i] = odd1 + 2.0f * odd2;
        made[2][i] = even1 + 4.0f * even2;
        made[3][i] = odd1 + 8.0f * odd2 + m5;
    }
    for (int x = 0; x < 4; ++x) {
        float* to = pixels + (size_t)y * row_stride + (size_t)x * channels + c;
        for (int i = 0; i < WIDTH; ++i) {
            float v = made[x][i] + bias[c + i] + added[4 * y + x];
            v = v < 0.0f ? v * slope : v;
            v = v < -clamp ? -clamp : v; // keeps NaN
            to[i] = v > clamp ? clamp : v;
        }
    }
}
#undef WIDTH
