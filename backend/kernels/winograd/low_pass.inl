// Separable low-pass filter with four taps, then noise, bias, leaky ReLU and clamp: rows of a channels-last image
// [rows][width][channels] from [rows + 3][at least width + 2][channels], whose first column is the image's; the column
// before it is zero. between: scratch, [width + 3][channels].
const float* given = (const float*)given_at;
const float* bias = (const float*)bias_at;
const float* noise = (const float*)noise_at;
float* __restrict image = (float*)image_at;
float* __restrict between = (float*)between_at;
for (int row = 0; row < rows; ++row) {
#pragma clang fp contract(fast)
    const float* line = given + (size_t)row * given_stride;
    const int count = (width + 2) * channels;
    for (int c = 0; c < channels; ++c) between[c] = 0.0f;
    for (int i = 0; i < count; ++i)
        between[channels + i] = tap0 * line[i] + tap1 * line[i + given_stride] + tap2 * line[i + 2 * given_stride] +
                                tap3 * line[i + 3 * given_stride];
    for (int x = 0; x < width; ++x) {
        const float* from = between + (size_t)x * channels;
        float* to = image + (size_t)row * row_stride + (size_t)x * channels;
        const float added = noise ? noise[(size_t)row * width + x] * noise_gain : 0.0f;
        for (int c = 0; c < channels; ++c) {
            float v = tap0 * from[c] + tap1 * from[c + channels] + tap2 * from[c + 2 * channels] +
                      tap3 * from[c + 3 * channels];
            v += bias[c] + added;
            v = v < 0.0f ? v * slope : v;
            v = v < -clamp ? -clamp : v; // keeps NaN
            to[c] = v > clamp ? clamp : v;
        }
    }
}
