// Coordinates px, py, pz [NUM_POINTS], clamped to 0..1 (NaN counts as 0), of the points from `first` on; past `end`,
// the first one again.
float px[NUM_POINTS], py[NUM_POINTS], pz[NUM_POINTS];
for (int s = 0; s < NUM_POINTS; ++s) {
    const int at = first + s < end ? first + s : first;
    const float* p = (const float*)points_at + 3 * (size_t)at;
    px[s] = p[0] > 0.0f ? (p[0] < 1.0f ? p[0] : 1.0f) : 0.0f;
    py[s] = p[1] > 0.0f ? (p[1] < 1.0f ? p[1] : 1.0f) : 0.0f;
    pz[s] = p[2] > 0.0f ? (p[2] < 1.0f ? p[2] : 1.0f) : 0.0f;
}
#undef NUM_POINTS
