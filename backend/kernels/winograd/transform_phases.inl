// WIDTH channels of one tile of a doubling convolution, from channel c on: columns first, then rows.
float half[5][5][WIDTH], raw[4][5][WIDTH];
for (int x = 0; x < 5; ++x)
    for (int i = 0; i < WIDTH; ++i) {
        const int at = across[x] + c + i;
        const float d0 = pixels[0][at], d1 = pixels[1][at], d2 = pixels[2][at], d3 = pixels[3][at], d4 = pixels[4][at];
        half[0][x][i] = 2.0f * d0 - d1 - 2.0f * d2 + d3;
        half[1][x][i] = d3 - d2 - 2.0f * d1;
        half[2][x][i] = 2.0f * d1 - 3.0f * d2 + d3;
        half[3][x][i] = d3 - d1;
        half[4][x][i] = 2.0f * d1 - d2 - 2.0f * d3 + d4;
        raw[0][x][i] = d1;
        raw[1][x][i] = d2;
        raw[2][x][i] = d3;
        raw[3][x][i] = d4;
    }
for (int y = 0; y < 5; ++y)
    for (int i = 0; i < WIDTH; ++i) {
        const float d0 = half[y][0][i], d1 = half[y][1][i], d2 = half[y][2][i], d3 = half[y][3][i], d4 = half[y][4][i];
        float* to = even_even + (5 * y * tiles + tile) * channels + c + i;
        to[0] = 2.0f * d0 - d1 - 2.0f * d2 + d3;
        to[tiles * channels] = d3 - d2 - 2.0f * d1;
        to[2 * tiles * channels] = 2.0f * d1 - 3.0f * d2 + d3;
        to[3 * tiles * channels] = d3 - d1;
        to[4 * tiles * channels] = 2.0f * d1 - d2 - 2.0f * d3 + d4;
        float* also = even_odd + (y * tiles + tile) * 4 * channels + c + i;
        also[0] = d1;
        also[channels] = d2;
        also[2 * channels] = d3;
        also[3 * channels] = d4;
    }
for (int y = 0; y < 4; ++y)
    for (int i = 0; i < WIDTH; ++i) {
        const float d0 = raw[y][0][i], d1 = raw[y][1][i], d2 = raw[y][2][i], d3 = raw[y][3][i], d4 = raw[y][4][i];
        float* to = odd_even + (4 * tile + y) * channels + c + i;
        to[0] = 2.0f * d0 - d1 - 2.0f * d2 + d3;
        to[4 * tiles * channels] = d3 - d2 - 2.0f * d1;
        to[8 * tiles * channels] = 2.0f * d1 - 3.0f * d2 + d3;
        to[12 * tiles * channels] = d3 - d1;
        to[16 * tiles * channels] = 2.0f * d1 - d2 - 2.0f * d3 + d4;
        float* also = odd_odd + (16 * tile + 4 * y) * channels + c + i;
        also[0] = d1;
        also[channels] = d2;
        also[2 * channels] = d3;
        also[3 * channels] = d4;
    }
#undef WIDTH
