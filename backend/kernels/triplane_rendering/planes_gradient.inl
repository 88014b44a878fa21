// Add the gradient of a tile's samples, to_features [CHANNELS][TILE], to that of the planes.
#include "triplane_rendering/corners.inl"
#define OUTPUT by_sample
#define INPUT to_features
#define NUM_ROWS CHANNELS
#define NUM_COLUMNS TILE
#include "cpp_snippets/transpose.inl"
#define ADD(CORNER)                                                                                                    \
    for (int c = 0; c < CHANNELS; ++c) to_planes[row##CORNER + c] += share##CORNER * gradient[c];
#define ADD_TO(PLANE) ADD(PLANE##0) ADD(PLANE##1) ADD(PLANE##2) ADD(PLANE##3)
for (int s = 0; s < count; ++s) {
#pragma clang fp contract(fast)
    float gradient[CHANNELS];
    __builtin_memcpy(gradient, by_sample + s * CHANNELS, sizeof(gradient));
    ALL_CORNERS
    ADD_TO(0) ADD_TO(1) ADD_TO(2)
}
#undef ADD
#undef ADD_TO
#undef ROW
#undef CORNERS
#undef ALL_CORNERS
