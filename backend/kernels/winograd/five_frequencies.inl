// Data transform of F(4, 2) in one dimension, of all channels: OUTPUT(0) to OUTPUT(4) of INPUT(0) to INPUT(4).
{
    const float *in0 = INPUT(0), *in1 = INPUT(1), *in2 = INPUT(2), *in3 = INPUT(3), *in4 = INPUT(4);
    float* __restrict out0 = OUTPUT(0), * __restrict out1 = OUTPUT(1), * __restrict out2 = OUTPUT(2);
    float* __restrict out3 = OUTPUT(3), * __restrict out4 = OUTPUT(4);
    for (int c = 0; c < channels; ++c) {
        const float d0 = in0[c], d1 = in1[c], d2 = in2[c], d3 = in3[c], d4 = in4[c];
        out0[c] = 2.0f * (d0 - d2) + (d3 - d1);
        out1[c] = (d3 - d2) - 2.0f * d1;
        out2[c] = (d3 - 3.0f * d2) + 2.0f * d1;
        out3[c] = d3 - d1;
        out4[c] = 2.0f * (d1 - d3) + (d4 - d2);
    }
}
#undef INPUT
#undef OUTPUT
