// WIDTH channels of one tile of a doubling convolution, from channel c on: even rows first, then odd ones.
float half[4][5][WIDTH], odd[4][4][WIDTH];
for (int x = 0; x < 9; ++x)
    for (int i = 0; i < WIDTH; ++i) {
        const float* at = x < 5 ? even_even + (x * tiles + tile) * channels + c + i
                                : even_odd + ((size_t)row * across + 4 * column + (x - 4)) * channels + c + i;
        const size_t next = (x < 5 ? 5 * tiles : (size_t)rows * across) * channels;
        const float m0 = at[0], m1 = at[next], m2 = at[2 * next], m3 = at[3 * next], m4 = at[4 * next];
        const float y0 = m0 + m1 + m2 + m3, y1 = m1 - m2 + 2.0f * m3, y2 = m1 + m2 + 4.0f * m3;
        const float y3 = m1 - m2 + 8.0f * m3 + m4;
        if (x < 5) {
            half[0][x][i] = y0;
            half[1][x][i] = y1;
            half[2][x][i] = y2;
            half[3][x][i] = y3;
        } else {
            odd[0][x - 5][i] = y0;
            odd[1][x - 5][i] = y1;
            odd[2][x - 5][i] = y2;
            odd[3][x - 5][i] = y3;
        }
    }
for (int y = 0; y < 8; ++y)
    for (int i = 0; i < WIDTH; ++i) {
        const float* at = odd_even + ((size_t)(4 * row + y / 2) * columns + column) * channels + c + i;
        const size_t next = 4 * tiles * channels;
        const bool even = y % 2 == 0;
        const float m0 = even ? half[y / 2][0][i] : at[0], m1 = even ? half[y / 2][1][i] : at[next];
        const float m2 = even ? half[y / 2][2][i] : at[2 * next], m3 = even ? half[y / 2][3][i] : at[3 * next];
        const float m4 = even ? half[y / 2][4][i] : at[4 * next];
        float* to = pixels + y * row_stride + c + i;
        to[0] = m0 + m1 + m2 + m3;
        to[2 * channels] = m1 - m2 + 2.0f * m3;
        to[4 * channels] = m1 + m2 + 4.0f * m3;
        to[6 * channels] = m1 - m2 + 8.0f * m3 + m4;
        const float* own = odd_odd + ((size_t)(4 * row + y / 2) * columns + column) * 4 * channels + c + i;
        for (int x = 0; x < 4; ++x) to[(2 * x + 1) * channels] = even ? odd[y / 2][x][i] : own[x * channels];
    }
#undef WIDTH
