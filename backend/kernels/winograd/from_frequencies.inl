// Output transform of whole rows of tiles, A^T m A (Eq. 8 of 1509.09308), then noise, bias, leaky ReLU and clamp:
// pixels of a channels-last image from frequencies [36][tiles][channels].
const float* frequencies = (const float*)frequencies_at;
const float* bias = (const float*)bias_at;
const float* noise = (const float*)noise_at;
float* image = (float*)image_at;
const size_t plane = (size_t)rows * columns * channels;
for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column) {
        const float* tile = frequencies + (size_t)(row * columns + column) * channels;
        float* pixels = image + (size_t)(4 * row) * row_stride + (size_t)(4 * column) * channels;
        float added[16];
        for (int i = 0; i < 16; ++i)
            added[i] =
                noise ? noise[(size_t)(4 * row + i / 4) * (4 * columns) + 4 * column + i % 4] * noise_gain : 0.0f;
        int c = 0;
        for (; c + LANES <= channels; c += LANES) {
#define WIDTH LANES
#include "winograd/finish_tile.inl"
        }
        for (; c < channels; ++c) {
#define WIDTH 1
#include "winograd/finish_tile.inl"
        }
    }
