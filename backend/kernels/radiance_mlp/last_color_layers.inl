// Last two layers of the colour network, from c1 [HIDDEN][TILE]: c2 [HIDDEN][TILE], and rgb [4][TILE] before its
// activation.
#define OUTPUT c2
#define INPUT c1
#define WEIGHTS parameters + WEIGHTS_4
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS HIDDEN
#define RELU
#include "cpp_snippets/layer.inl"
#define OUTPUT rgb
#define INPUT c2
#define WEIGHTS parameters + WEIGHTS_5
#define NUM_INPUTS HIDDEN
#define NUM_OUTPUTS 4
#include "cpp_snippets/layer.inl"
