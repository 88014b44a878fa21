// Transpose: OUTPUT [NUM_COLUMNS][NUM_ROWS] = INPUT [NUM_ROWS][NUM_COLUMNS], both multiples of 4, in squares of half a
// tile at most. A square is transposed in registers: its off-diagonal quarters change places, then those of each
// quarter.
#if NUM_ROWS % 16 == 0 && NUM_COLUMNS % 16 == 0 && TILE % 32 == 0
#define SIDE 16
#define SOURCES(F, H) SOURCES_8(F, 0, H), SOURCES_8(F, 8, H)
#elif NUM_ROWS % 8 == 0 && NUM_COLUMNS % 8 == 0
#define SIDE 8
#define SOURCES(F, H) SOURCES_8(F, 0, H)
#else
#define SIDE 4
#define SOURCES(F, H) SOURCES_4(F, 0, H)
#endif
#define SOURCES_4(F, L, H) F(L, H), F(L + 1, H), F(L + 2, H), F(L + 3, H)
#define SOURCES_8(F, L, H) SOURCES_4(F, L, H), SOURCES_4(F, L + 4, H)
// Where lane L of the upper and of the lower of two rows, H apart, comes from: the lower row's lanes begin at SIDE.
#define UPPER(L, H) ((L) & (H) ? SIDE + (L) - (H) : (L))
#define LOWER(L, H) ((L) & (H) ? SIDE + (L) : (L) + (H))
#define EXCHANGE_QUARTERS(H)                                                                                           \
    _Pragma("clang loop unroll(full)") for (int i = 0; i < SIDE; ++i) if (!(i & (H))) {                                \
        const line upper = row[i], lower = row[i + (H)];                                                               \
        row[i] = __builtin_shufflevector(upper, lower, SOURCES(UPPER, H));                                             \
        row[i + (H)] = __builtin_shufflevector(upper, lower, SOURCES(LOWER, H));                                       \
    }
static_assert(NUM_ROWS % SIDE == 0 && NUM_COLUMNS % SIDE == 0, "rows and columns must be multiples of 4");
float OUTPUT[NUM_COLUMNS * NUM_ROWS];
for (int s = 0; s < NUM_ROWS; s += SIDE)
    for (int k = 0; k < NUM_COLUMNS; k += SIDE) {
        typedef float line __attribute__((vector_size(4 * SIDE)));
        line row[SIDE];
        for (int i = 0; i < SIDE; ++i) __builtin_memcpy(&row[i], INPUT + (s + i) * NUM_COLUMNS + k, 4 * SIDE);
#if SIDE > 8
        EXCHANGE_QUARTERS(8)
#endif
#if SIDE > 4
        EXCHANGE_QUARTERS(4)
#endif
        EXCHANGE_QUARTERS(2)
        EXCHANGE_QUARTERS(1)
        for (int i = 0; i < SIDE; ++i) __builtin_memcpy(OUTPUT + (k + i) * NUM_ROWS + s, &row[i], 4 * SIDE);
    }
#undef SIDE
#undef SOURCES
#undef SOURCES_4
#undef SOURCES_8
#undef UPPER
#undef LOWER
#undef EXCHANGE_QUARTERS
#undef OUTPUT
#undef INPUT
#undef NUM_ROWS
#undef NUM_COLUMNS
