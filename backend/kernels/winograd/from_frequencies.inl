// Output transform of whole rows of tiles, A^T m A (Eq. 8 of 1509.09308), then noise, bias, leaky ReLU and clamp:
// pixels of a channels-last image from frequencies [36][tiles][scale][scale][channels]. Of an image that is doubled
// (scale 2), each phase is a convolution of its own: it makes every second pixel.
const float* frequencies = (const float*)frequencies_at;
const float* bias = (const float*)bias_at;
const float* noise = (const float*)noise_at;
float* image = (float*)image_at;
const int every = scale * scale * channels;
const size_t plane = (size_t)rows * columns * every;
for (int row = 0; row < rows; ++row)
    for (int column = 0; column < columns; ++column)
        for (int a = 0; a < scale; ++a)
            for (int b = 0; b < scale; ++b) {
                const float* tile =
                    frequencies + (size_t)(row * columns + column) * every + (size_t)(a * scale + b) * channels;
                const int top = 4 * row * scale + a, left = 4 * column * scale + b;
                float* pixels = image + (size_t)top * row_stride + (size_t)left * channels;
                float added[16];
                for (int i = 0; i < 16; ++i) {
                    const size_t at = (size_t)(top + (i / 4) * scale) * (4 * columns * scale) + left + (i % 4) * scale;
                    added[i] = noise ? noise[at] * noise_gain : 0.0f;
                }
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
