// The part of the colour network's first layer that depends on a ray's `view` [VIEW] alone, which all samples of the
// ray share: OUTPUT [HIDDEN], before the ReLU.
float OUTPUT[HIDDEN] = {};
for (int k = 0; k < VIEW; ++k) {
#pragma clang fp contract(fast)
    const float* w = parameters + WEIGHTS_3 + (GEOMETRY + k) * HIDDEN;
    for (int j = 0; j < HIDDEN; ++j) OUTPUT[j] += view[k] * w[j];
}
#undef OUTPUT
