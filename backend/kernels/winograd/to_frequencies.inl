// Data transform of whole rows of tiles, B^T d B (Eq. 8 of 1509.09308, F(4 x 4, 3 x 3)): frequencies
// [36][tiles][channels] of the 6 x 6 pixels that each tile of a channels-last image reads. Tiles begin every fourth
// pixel.
const float* image = (const float*)image_at;
float* frequencies = (float*)frequencies_at;
const size_t plane = (size_t)rows * columns * channels;
for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
        const float* pixels = image + (size_t)(4 * row) * row_stride + (size_t)(4 * column) * channels;
        float* tile = frequencies + (size_t)(row * columns + column) * channels;
        int c = 0;
        for (; c + LANES <= channels; c += LANES) {
#define WIDTH LANES
#include "winograd/transform_tile.inl"
        }
        for (; c < channels; ++c) {
#define WIDTH 1
#include "winograd/transform_tile.inl"
        }
    }
