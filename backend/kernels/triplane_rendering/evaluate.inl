// Sample n of TILE rays, decoded into its place in `outputs`; see decode.inl.
float xs[TILE], ys[TILE], zs[TILE];
for (int s = 0; s < TILE; ++s) {
    const float at = t[n * TILE + s];
    xs[s] = ox[s] + at * dx[s], ys[s] = oy[s] + at * dy[s], zs[s] = oz[s] + at * dz[s];
}
float* const made = outputs + n * OUTPUTS * TILE;
#include "triplane_rendering/decode.inl"
