// Mean of the three planes' bilinear features of the samples of a tile, xs, ys, zs [TILE]: plane_features
// [CHANNELS][TILE]. A sample's features lie together in memory, so one vector holds them.
#include "triplane_rendering/corners.inl"
#define READ(PLANE)                                                                                                    \
    (share##PLANE##0 * planes[row##PLANE##0 + c] + share##PLANE##1 * planes[row##PLANE##1 + c] +                       \
     share##PLANE##2 * planes[row##PLANE##2 + c] + share##PLANE##3 * planes[row##PLANE##3 + c])
float sampled[TILE * CHANNELS];
for (int s = 0; s < TILE; ++s) {
#pragma clang fp contract(fast)
    ALL_CORNERS
    float sum[CHANNELS];
    for (int c = 0; c < CHANNELS; ++c) sum[c] = READ(0) + READ(1) + READ(2);
    __builtin_memcpy(sampled + s * CHANNELS, sum, sizeof(sum));
}
#define OUTPUT plane_features
#define INPUT sampled
#define NUM_ROWS TILE
#define NUM_COLUMNS CHANNELS
#include "cpp_snippets/transpose.inl"
#undef READ
#undef ROW
#undef CORNERS
#undef ALL_CORNERS
