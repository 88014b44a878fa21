// First layer of the density network: h1 [HIDDEN][TILE] from x [INPUTS][TILE].
#define OUTPUT h1
#define INPUT x
#define WEIGHTS parameters
#define NUM_INPUTS INPUTS
#define NUM_OUTPUTS HIDDEN
#define RELU
#include "cpp_snippets/layer.inl"
