// WIDTH channels of one tile, from channel c on: columns first, then rows.
float half[6][6][WIDTH];
for (int x = 0; x < 6; ++x)
    for (int i = 0; i < WIDTH; ++i) {
        const float* at = pixels + x * channels + c + i;
        const float d0 = at[0], d1 = at[row_stride], d2 = at[2 * row_stride], d3 = at[3 * row_stride];
        const float d4 = at[4 * row_stride], d5 = at[5 * row_stride];
        half[0][x][i] = 4.0f * d0 - 5.0f * d2 + d4;
        half[1][x][i] = (d4 - 4.0f * d2) + (d3 - 4.0f * d1);
        half[2][x][i] = (d4 - 4.0f * d2) - (d3 - 4.0f * d1);
        half[3][x][i] = (d4 - d2) + 2.0f * (d3 - d1);
        half[4][x][i] = (d4 - d2) - 2.0f * (d3 - d1);
        half[5][x][i] = 4.0f * d1 - 5.0f * d3 + d5;
    }
for (int y = 0; y < 6; ++y)
    for (int i = 0; i < WIDTH; ++i) {
        const float d0 = half[y][0][i], d1 = half[y][1][i], d2 = half[y][2][i], d3 = half[y][3][i];
        const float d4 = half[y][4][i], d5 = half[y][5][i];
        float* to = tile + 6 * y * plane + c + i;
        to[0] = 4.0f * d0 - 5.0f * d2 + d4;
        to[plane] = (d4 - 4.0f * d2) + (d3 - 4.0f * d1);
        to[2 * plane] = (d4 - 4.0f * d2) - (d3 - 4.0f * d1);
        to[3 * plane] = (d4 - d2) + 2.0f * (d3 - d1);
        to[4 * plane] = (d4 - d2) - 2.0f * (d3 - d1);
        to[5 * plane] = 4.0f * d1 - 5.0f * d3 + d5;
    }
#undef WIDTH
