// Add the gradient of a tile's features to the entries of the table that they were made of, and flag the groups of
// eight entries that got something in `touched`, if it is there.
const int count = end - first < TILE ? end - first : TILE;
for (int s = 0; s < count; ++s) {
    const float* g = gradient + (size_t)(first + s) * WIDTH;
#pragma clang loop unroll(full)
    for (int corner = 0; corner < 8; ++corner) {
        const size_t place = places[now][corner][s];
        float* entry = entries + place * CHANNELS;
        for (int f = 0; f < CHANNELS; ++f) entry[f] += weights[now][corner][s] * g[f];
        if (touched) touched[place >> 3] = 1;
    }
    prefetch(s);
}
