// Add to the gradient of one level of the table, given that of the features of the points start..end.
#include "hash_encoding/level.inl"
float* entries = (float*)total_at + level_offset * CHANNELS;
unsigned char* touched = touched_at ? (unsigned char*)touched_at + level_offset / 8 : nullptr;
const float* gradient = (const float*)gradient_at + (size_t)level * CHANNELS;
#define TABLE_GRADIENT
#include "hash_encoding/tiles_ahead.inl"
#undef TABLE_GRADIENT
