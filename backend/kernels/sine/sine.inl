// Sines, and with COSINES their cosines, of the rows start..end of values [rows][width], to an absolute error of about
// 2e-7 for arguments up to 1000. Rows of cosines lie `stride` apart. x = k pi + r with k the nearest integer, pi in
// three parts; sine and cosine of r are polynomials on -pi/2..pi/2, and an odd k changes their sign. NaN stays NaN.
const float turn = 0.318309886f, rounding = 12582912.0f; // a sum with it has the integer in its last bits
for (int row = start; row < end; ++row)
    for (int first = 0; first < width; first += BLOCK) {
        float* values = (float*)values_at + (size_t)row * width + first;
        const int count = width - first < BLOCK ? width - first : BLOCK;
        float x[BLOCK];
        unsigned sign[BLOCK];
        if (count < BLOCK)
            for (int i = 0; i < BLOCK; ++i) x[i] = 0.0f;
        __builtin_memcpy(x, values, 4 * count);
        for (int i = 0; i < BLOCK; ++i) {
#pragma clang fp contract(fast)
            const float sum = x[i] * turn + rounding, k = sum - rounding;
            __builtin_memcpy(&sign[i], &sum, 4);
            sign[i] <<= 31;
            x[i] = ((x[i] - k * 3.140625f) - k * 9.67025756836e-4f) - k * 6.27811703e-7f;
        }
#ifdef COSINES
        float cosine[BLOCK];
        for (int i = 0; i < BLOCK; ++i) {
#pragma clang fp contract(fast)
            const float s = x[i] * x[i];
            float y = s * 1.9907862e-9f - 2.7530114e-7f;
            y = y * s + 2.4800995e-5f;
            y = y * s - 1.3888886e-3f;
            y = y * s + 4.1666666e-2f;
            y = y * s - 0.5f;
            y = y * s + 1.0f;
            unsigned bits;
            __builtin_memcpy(&bits, &y, 4);
            bits ^= sign[i];
            __builtin_memcpy(&cosine[i], &bits, 4);
        }
        __builtin_memcpy((float*)cosines_at + (size_t)row * stride + first, cosine, 4 * count);
#endif
        for (int i = 0; i < BLOCK; ++i) {
#pragma clang fp contract(fast)
            const float s = x[i] * x[i];
            float y = s * -2.3889859e-8f + 2.7525562e-6f;
            y = y * s - 1.9840874e-4f;
            y = y * s + 8.3333310e-3f;
            y = y * s - 1.6666667e-1f;
            y = y * s * x[i] + x[i];
            unsigned bits;
            __builtin_memcpy(&bits, &y, 4);
            bits ^= sign[i];
            __builtin_memcpy(&x[i], &bits, 4);
        }
        __builtin_memcpy(values, x, 4 * count);
    }
