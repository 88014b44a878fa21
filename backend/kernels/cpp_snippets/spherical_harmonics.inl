// Real spherical harmonics of degrees 0-3 of NUM_DIRECTIONS unit directions: OUTPUT [16][NUM_DIRECTIONS], in the order
// of `spherical_harmonics`. DIRECTION: the address of the three numbers of direction `s`.
for (int s = 0; s < NUM_DIRECTIONS; ++s) {
    const float* d = DIRECTION;
    (OUTPUT)[s] = d[0];
    (OUTPUT)[NUM_DIRECTIONS + s] = d[1];
    (OUTPUT)[2 * NUM_DIRECTIONS + s] = d[2];
}
for (int s = 0; s < NUM_DIRECTIONS; ++s) {
    float* h = (OUTPUT) + s;
    const float x = h[0], y = h[NUM_DIRECTIONS], z = h[2 * NUM_DIRECTIONS];
    const float xx = x * x, yy = y * y, zz = z * z;
    h[0] = 0.28209479f;
    h[NUM_DIRECTIONS] = -0.48860251f * y;
    h[2 * NUM_DIRECTIONS] = 0.48860251f * z;
    h[3 * NUM_DIRECTIONS] = -0.48860251f * x;
    h[4 * NUM_DIRECTIONS] = 1.0925484f * x * y;
    h[5 * NUM_DIRECTIONS] = -1.0925484f * y * z;
    h[6 * NUM_DIRECTIONS] = 0.31539157f * (3.0f * zz - 1.0f);
    h[7 * NUM_DIRECTIONS] = -1.0925484f * x * z;
    h[8 * NUM_DIRECTIONS] = 0.54627422f * (xx - yy);
    h[9 * NUM_DIRECTIONS] = -0.59004359f * y * (3.0f * xx - yy);
    h[10 * NUM_DIRECTIONS] = 2.8906114f * x * y * z;
    h[11 * NUM_DIRECTIONS] = -0.45704580f * y * (5.0f * zz - 1.0f);
    h[12 * NUM_DIRECTIONS] = 0.37317633f * z * (5.0f * zz - 3.0f);
    h[13 * NUM_DIRECTIONS] = -0.45704580f * x * (5.0f * zz - 1.0f);
    h[14 * NUM_DIRECTIONS] = 1.4453057f * z * (xx - yy);
    h[15 * NUM_DIRECTIONS] = -0.59004359f * x * (xx - 3.0f * yy);
}
#undef OUTPUT
#undef DIRECTION
#undef NUM_DIRECTIONS
