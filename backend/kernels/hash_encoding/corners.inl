// The eight grid corners around NUM_POINTS points of one level. Reads px, py, pz [NUM_POINTS] in 0..1, scale,
// resolution, dense. Makes x, y, z [2][NUM_POINTS], the lower and upper coordinate along each axis times that axis'
// multiplier, and fx, fy, fz [2][NUM_POINTS], their interpolation weights.
unsigned x[2][NUM_POINTS], y[2][NUM_POINTS], z[2][NUM_POINTS];
float fx[2][NUM_POINTS], fy[2][NUM_POINTS], fz[2][NUM_POINTS];
const unsigned my = dense ? resolution : 2654435761u, mz = dense ? resolution * resolution : 805459861u;
for (int s = 0; s < NUM_POINTS; ++s) {
    const float a = px[s] * scale + 0.5f, b = py[s] * scale + 0.5f, c = pz[s] * scale + 0.5f;
    const int i = (int)a, j = (int)b, k = (int)c;
    fx[1][s] = a - (float)i;
    fy[1][s] = b - (float)j;
    fz[1][s] = c - (float)k;
    fx[0][s] = 1.0f - fx[1][s];
    fy[0][s] = 1.0f - fy[1][s];
    fz[0][s] = 1.0f - fz[1][s];
    x[0][s] = (unsigned)i;
    x[1][s] = (unsigned)i + 1u;
    y[0][s] = (unsigned)j * my;
    y[1][s] = y[0][s] + my;
    z[0][s] = (unsigned)k * mz;
    z[1][s] = z[0][s] + mz;
}
#undef NUM_POINTS
