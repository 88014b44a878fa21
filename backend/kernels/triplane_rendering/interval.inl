// The interval behind sample n: its density before the activation becomes density and slope [TILE]; `passing` [TILE] is
// the light that it lets through.
float density[TILE], density_slope[TILE], passing[TILE];
const float *here = outputs + n * OUTPUTS * TILE, *there = here + OUTPUTS * TILE, *t_here = t + n * TILE;
for (int s = 0; s < TILE; ++s) density[s] = 0.5f * (here[s] + there[s]) - 1.0f;
#define LOGITS density
#define SLOPES density_slope
#define COUNT TILE
#include "triplane_rendering/softplus.inl"
for (int s = 0; s < TILE; ++s) passing[s] = -density[s] * (t_here[TILE + s] - t_here[s]);
#define VALUES passing
#define NUM_VALUES TILE
#include "cpp_snippets/exponential.inl"
