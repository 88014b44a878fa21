// Replace VALUES [NUM_VALUES] by their exponentials, to a relative error of about 1e-7. Arguments are clamped to the
// range of a float; NaN stays NaN. exp(x) = 2^i 2^f with i the integer nearest to x / ln 2; 2^f is a polynomial on
// -1/2..1/2.
for (int s = 0; s < NUM_VALUES; ++s) {
    const float argument = VALUES[s];
    float x = argument > -87.0f ? argument : -87.0f;
    x = x < 88.0f ? x : 88.0f;
    const float scaled = x * 1.44269504f;
    const int whole = (int)(scaled + (scaled < 0.0f ? -0.5f : 0.5f));
    const float f = (x - (float)whole * 0.693359375f) + (float)whole * 2.12194440e-4f;
    float sum = 1.9841270e-4f;
    sum = sum * f + 1.3888889e-3f;
    sum = sum * f + 8.3333333e-3f;
    sum = sum * f + 4.1666667e-2f;
    sum = sum * f + 1.6666667e-1f;
    sum = sum * f + 0.5f;
    sum = sum * f + 1.0f;
    sum = sum * f + 1.0f;
    union {
        int bits;
        float value;
    } power;
    power.bits = (whole + 127) << 23;
    VALUES[s] = argument == argument ? sum * power.value : argument;
}
#undef VALUES
#undef NUM_VALUES
