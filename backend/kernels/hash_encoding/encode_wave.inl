// Features OUTPUT [tile][level, channel][TILE] of the points xs, ys, zs [n], in 0..1, on the CPU: level after level of
// the table at table_at, so that a level stays in the cache.
{
    const int start = 0, end = n;
#define IN_WAVE
#define STORE OUTPUT[(size_t)first * WIDTH + (level * CHANNELS + f) * TILE + s] = value
    for (int level = 0; level < NUM_LEVELS; ++level) {
#include "hash_encoding/level.inl"
        const float* entries = (const float*)table_at + level_offset * CHANNELS;
#include "hash_encoding/tiles_ahead.inl"
    }
#undef IN_WAVE
#undef STORE
}
#undef OUTPUT
