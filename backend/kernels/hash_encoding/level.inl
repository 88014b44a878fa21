// One level of the table, as `level_words` describes it: scale, resolution, size, dense; and level_offset, its first
// entry.
const int* level_word = (const int*)levels_at + 5 * level;
const float scale = *(const float*)level_word;
const unsigned resolution = level_word[1], size = level_word[3];
const size_t level_offset = (size_t)level_word[2];
const bool dense = level_word[4] != 0;
