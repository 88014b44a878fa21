// Replace LOGITS [COUNT] by their softplus, and write its derivative, the sigmoid, to SLOPES [COUNT].
// log(1 + e) = 2 artanh(e / (2 + e)) with e = exp(-|x|) in 0..1, as a series.
{
    float e[COUNT];
    for (int i = 0; i < COUNT; ++i) e[i] = LOGITS[i] > 0.0f ? -LOGITS[i] : LOGITS[i];
#define VALUES e
#define NUM_VALUES COUNT
#include "cpp_snippets/exponential.inl"
    for (int i = 0; i < COUNT; ++i) {
        const float ratio = e[i] / (2.0f + e[i]), square = ratio * ratio, x = LOGITS[i];
        float sum = 1.0f / 13;
        sum = sum * square + 1.0f / 11;
        sum = sum * square + 1.0f / 9;
        sum = sum * square + 1.0f / 7;
        sum = sum * square + 1.0f / 5;
        sum = sum * square + 1.0f / 3;
        sum = sum * square + 1.0f;
        LOGITS[i] = (x > 0.0f ? x : 0.0f) + 2.0f * ratio * sum;
        SLOPES[i] = (x > 0.0f ? 1.0f : e[i]) / (1.0f + e[i]);
    }
}
#undef LOGITS
#undef SLOPES
#undef COUNT
