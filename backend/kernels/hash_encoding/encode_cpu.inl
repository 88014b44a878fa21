// Features [.., WIDTH] of one level, of the points start..end, a tile after the other.
#include "hash_encoding/level.inl"
const float* entries = (const float*)table_at + level_offset * CHANNELS;
float* features = (float*)features_at + (size_t)level * CHANNELS;
#define STORE                                                                                                          \
    if (first + s < end) features[(size_t)(first + s) * WIDTH + f] = value
#include "hash_encoding/tiles_ahead.inl"
#undef STORE
