// Trilinear interpolation of a tile's features from entries at `places`. Defined outside: STORE, a statement that keeps
// `value`, feature `f` of sample `s` of the tile that begins at point `first`.
#if CHANNELS == 2
#define BATCH 4 // an entry is one word of 8 bytes, and four samples fill two vector registers
#else
#define BATCH 1
#endif
for (int at = 0; at < TILE; at += BATCH) {
#pragma clang fp contract(fast)
#if CHANNELS == 2
    typedef double four __attribute__((vector_size(32)));
    typedef float numbers __attribute__((vector_size(32)));
    typedef double word __attribute__((aligned(4), may_alias));
    auto fetched = [&](int corner) {
        const unsigned* place = places[now][corner] + at;
        return (numbers)four{
            *(const word*)(entries + 2 * (size_t)place[0]),
            *(const word*)(entries + 2 * (size_t)place[1]),
            *(const word*)(entries + 2 * (size_t)place[2]),
            *(const word*)(entries + 2 * (size_t)place[3]),
        };
    };
#else
    typedef float numbers __attribute__((vector_size(4 * CHANNELS), aligned(4)));
    auto fetched = [&](int corner) { return *(const numbers*)(entries + (size_t)places[now][corner][at] * CHANNELS); };
#endif
    const numbers along_x = *(const numbers*)(along[now][0] + CHANNELS * at);
    const numbers along_y = *(const numbers*)(along[now][1] + CHANNELS * at);
    const numbers along_z = *(const numbers*)(along[now][2] + CHANNELS * at);
    numbers edge[4];
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; ++i) {
        const numbers lower = fetched(2 * i), upper = fetched(2 * i + 1);
        edge[i] = lower + along_x * (upper - lower);
    }
    const numbers below = edge[0] + along_y * (edge[1] - edge[0]);
    const numbers above = edge[2] + along_y * (edge[3] - edge[2]);
    const numbers sum = below + along_z * (above - below);
    for (int i = 0; i < BATCH * CHANNELS; ++i) {
        const int s = at + i / CHANNELS, f = i % CHANNELS;
        const float value = sum[i];
        STORE;
    }
    for (int s = at; s < at + BATCH; ++s) prefetch(s);
}
#undef BATCH
