// Data transform of a doubling convolution, of whole rows of tiles of 5 x 5 pixels of a channels-last image. Along each
// side, the even phase takes 5 frequencies, F(4, 2) with the points 0, 1, -1, 2 and infinity, and the odd phase the
// last 4 pixels as they are. frequencies: even-even [5][5][tiles], even-odd [5][tiles][4], odd-even [5][tiles][4],
// odd-odd [tiles][4][4], each [channels]. Pixels past last_row and last_column are those of the frame, zero.
const float* image = (const float*)image_at;
float* even_even = (float*)frequencies_at;
const size_t tiles = (size_t)rows * columns;
float* even_odd = even_even + 25 * tiles * channels;
float* odd_even = even_odd + 20 * tiles * channels;
float* odd_odd = odd_even + 20 * tiles * channels;
for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
        const size_t tile = (size_t)row * columns + column;
        const float* pixels[5];
        int across[5];
        for (int i = 0; i < 5; ++i) {
            const int y = 4 * row + i, x = 4 * column + i;
            pixels[i] = image + (size_t)(y < last_row ? y : last_row) * row_stride;
            across[i] = (x < last_column ? x : last_column) * channels;
        }
        int c = 0;
        for (; c + LANES <= channels; c += LANES) {
#define WIDTH LANES
#include "winograd/transform_phases.inl"
        }
        for (; c < channels; ++c) {
#define WIDTH 1
#include "winograd/transform_phases.inl"
        }
    }
