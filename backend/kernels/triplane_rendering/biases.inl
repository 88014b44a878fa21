// The biases of both layers, repeated for a tile.
const float* parameters = (const float*)parameters_at;
float hidden_bias[HIDDEN * TILE], output_bias[OUTPUTS * TILE];
for (int i = 0; i < HIDDEN * TILE; ++i) hidden_bias[i] = parameters[BIASES_1 + i / TILE];
for (int i = 0; i < OUTPUTS * TILE; ++i) output_bias[i] = parameters[BIASES_2 + i / TILE];
