// The features of a tile: x [INPUTS][TILE], of the samples from `first` on; past `count`, the last one again.
float x[INPUTS * TILE];
for (int s = 0; s < TILE; ++s) {
    const float* from = (const float*)features_at + (size_t)(first + (s < count ? s : count - 1)) * INPUTS;
    for (int k = 0; k < INPUTS; ++k) x[k * TILE + s] = from[k];
}
