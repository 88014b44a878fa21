// Output transform of a doubling convolution: 8 x 8 pixels of each tile, both phases of both sides in their places,
// from frequencies laid out as in to_phases.inl. image: [8 rows][8 columns][channels].
const float* even_even = (const float*)frequencies_at;
float* image = (float*)image_at;
const size_t tiles = (size_t)rows * columns;
const float* even_odd = even_even + 25 * tiles * channels;
const int across = 4 * columns + 1;
const float* odd_even = even_odd + (size_t)5 * rows * across * channels;
const float* odd_odd = odd_even + 20 * tiles * channels;
const size_t row_stride = (size_t)8 * columns * channels;
for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
        const size_t tile = (size_t)row * columns + column;
        float* pixels = image + 8 * row * row_stride + (size_t)8 * column * channels;
        int c = 0;
        for (; c + LANES <= channels; c += LANES) {
#define WIDTH LANES
#include "winograd/finish_phases.inl"
        }
        for (; c < channels; ++c) {
#define WIDTH 1
#include "winograd/finish_phases.inl"
        }
    }
