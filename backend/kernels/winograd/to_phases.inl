// Data transform of a doubling convolution, of whole rows of tiles of 5 x 5 pixels of a channels-last image. Along each
// side, the even phase takes 5 frequencies, F(4, 2) with the points 0, 1, -1, 2 and infinity, and the odd phase the
// last 4 pixels as they are. frequencies: even-even [5][5][rows][columns], even-odd [5][rows][4 columns + 1], odd-even
// [5][rows][4][columns], odd-odd [rows][4][4 columns], each [channels]. Pixels past last_row and last_column are those
// of the frame, zero.
const float* image = (const float*)image_at;
const int across = 4 * columns + 1;
const size_t tiles = (size_t)rows * columns;
float* even_even = (float*)frequencies_at;
float* even_odd = even_even + 25 * tiles * channels;
float* odd_even = even_odd + (size_t)5 * rows * across * channels;
float* odd_odd = odd_even + 20 * tiles * channels;
for (int row = 0; row < rows; ++row) {
    const float* lines[5];
    for (int i = 0; i < 5; ++i)
        lines[i] = image + (size_t)(4 * row + i < last_row ? 4 * row + i : last_row) * row_stride;
    float* column = even_odd + (size_t)row * across * channels;
    const size_t plane = (size_t)rows * across * channels;
    for (int x = 0; x < across; ++x) {
        const size_t at = (size_t)(x < last_column ? x : last_column) * channels;
#define INPUT(i) (lines[i] + at)
#define OUTPUT(i) (column + (size_t)x * channels + (i) * plane)
#include "winograd/five_frequencies.inl"
    }
    for (int y = 0; y < 5; ++y)
        for (int tile = 0; tile < columns; ++tile) {
            const float* at = column + y * plane + (size_t)4 * tile * channels;
            float* to = even_even + (5 * y * tiles + (size_t)row * columns + tile) * channels;
#define INPUT(i) (at + (i) * channels)
#define OUTPUT(i) (to + (i) * tiles * channels)
#include "winograd/five_frequencies.inl"
        }
    for (int y = 0; y < 4; ++y) {
        const float* line = lines[y + 1];
        float* to = odd_odd + (size_t)(4 * row + y) * 4 * columns * channels;
        const int inside = (4 * columns < last_column ? 4 * columns : last_column) * channels;
        __builtin_memcpy(to, line + channels, 4 * (size_t)inside);
        for (int i = inside; i < 4 * columns * channels; ++i) to[i] = 0.0f;
        for (int tile = 0; tile < columns; ++tile) {
            size_t at[5];
            for (int i = 0; i < 5; ++i)
                at[i] = (size_t)(4 * tile + i < last_column ? 4 * tile + i : last_column) * channels;
            float* made = odd_even + ((size_t)(4 * row + y) * columns + tile) * channels;
#define INPUT(i) (line + at[i])
#define OUTPUT(i) (made + (i) * 4 * tiles * channels)
#include "winograd/five_frequencies.inl"
        }
    }
}
