// Loop over the tiles of points start..end on the CPU: the table entries of the next tile are prefetched while those of
// this one are used, so that they are in the cache by then.
// Reads entries, scale, resolution, size, dense. TABLE_GRADIENT: adds to the table's gradient (scatter_tile.inl);
// otherwise interpolates features (interpolate_tile.inl). Where IN_WAVE is defined, the points are xs, ys, zs [n], in
// 0..1 already; otherwise tile_points.inl reads them.
const bool beyond_cache = (size_t)size * (4 * CHANNELS) > LEVEL_1_CACHE;
unsigned places[2][8][TILE]; // entries of this tile (places[now]) and of the next
#ifdef TABLE_GRADIENT
float weights[2][8][TILE];
#else
alignas(64) float along[2][3][TILE * CHANNELS]; // how far from the lower corner to the upper: of x, y, z
#endif
auto locate = [&](int first, int to) {
#ifdef IN_WAVE
    const float* px = xs + first;
    const float* py = ys + first;
    const float* pz = zs + first;
#else
#define NUM_POINTS TILE
#include "hash_encoding/tile_points.inl"
#endif
    const float* const point[3] = {px, py, pz};
    auto each = [&](const bool dense) {
        for (int lane = 0; lane < TILE; ++lane) {
            const float* px = point[0] + lane;
            const float* py = point[1] + lane;
            const float* pz = point[2] + lane;
#define NUM_POINTS 1
#include "hash_encoding/corners.inl"
#pragma clang loop unroll(full) // which of two coordinates each corner takes is then a constant
            for (int corner = 0; corner < 8; ++corner) {
#define NUM_POINTS 1
#include "hash_encoding/corner_index.inl"
                places[to][corner][lane] = *index;
            }
#ifdef TABLE_GRADIENT
#pragma clang loop unroll(full)
            for (int corner = 0; corner < 8; ++corner)
                weights[to][corner][lane] = fx[corner & 1][0] * fy[corner >> 1 & 1][0] * fz[corner >> 2][0];
#else
            for (int f = 0; f < CHANNELS; ++f) {
                along[to][0][lane * CHANNELS + f] = *fx[1];
                along[to][1][lane * CHANNELS + f] = *fy[1];
                along[to][2][lane * CHANNELS + f] = *fz[1];
            }
#endif
        }
    };
    if (dense)
        each(true);
    else
        each(false);
};
int now = 0;
if (start < end) locate(start, now);
for (int first = start; first < end; first += TILE, now = 1 - now) {
    const bool more = first + TILE < end;
    if (more) locate(first + TILE, 1 - now);
    auto prefetch = [&](int s) {
        if (beyond_cache && more)
            for (int corner = 0; corner < 8; corner += 2) // its neighbour along x is nearly always beside it
                __builtin_prefetch(entries + CHANNELS * (size_t)places[1 - now][corner][s]);
    };
#ifdef TABLE_GRADIENT
#include "hash_encoding/scatter_tile.inl"
#else
#include "hash_encoding/interpolate_tile.inl"
#endif
}
