// SIMD packet traversal of the occupancy grid: LANES neighbouring rays at once, one ray a lane, on the CPU. A lane
// visits the cells that `warp_engine.next_sample` visits; a ray alone must wait for each cell before it knows the next,
// while the rays of a packet wait together.
//
// Makes `advance(at)`: rays at..at + LANES move to their first sample at or after where they are, or to their end or
// behind it where there is none; and what it consists of: vectors, `contraction_scale`, `contract`, `stride`, `even`.
// Reads smallest, cone, contracted, resolution (see `Steps`, `OccupancyBits`), bits, empty; and of each ray origin_x,
// direction_x, inverse_x (1 / direction; 1e30 for next to nothing), y, z; t_begin and t_end, its first t and the one
// that it does not reach. Changes t_now, where each ray is, and num_steps, the even steps since t_begin. A lane whose
// t_end is -infinity never moves, whatever else stands there.
typedef float reals __attribute__((vector_size(4 * LANES)));
typedef int integers __attribute__((vector_size(4 * LANES)));
auto everywhere = [](float x) { return x - reals{}; };
auto load = [](const float* from) {
    reals x;
    __builtin_memcpy(&x, from, sizeof(x));
    return x;
};
auto store = [](float* to, reals x) { __builtin_memcpy(to, &x, sizeof(x)); };
auto larger = [](reals a, reals b) { return a > b ? a : b; };
auto smaller = [](reals a, reals b) { return a < b ? a : b; };
auto outermost = [&](reals x, reals y, reals z) {
    const reals a = x * 2.0f - 1.0f, b = y * 2.0f - 1.0f, c = z * 2.0f - 1.0f;
    return larger(larger(larger(a, -a), larger(b, -b)), larger(c, -c));
};
auto contraction_scale = [&](reals x, reals y, reals z) {
    if (!contracted) return everywhere(1.0f);
    const reals out = larger(outermost(x, y, z), everywhere(1.0f));
    return out * out;
};
auto contract = [&](reals& x, reals& y, reals& z) {
    if (!contracted) return;
    const reals size = outermost(x, y, z);
    const reals scale = size > 1.0f ? (2.0f - 1.0f / size) / size : everywhere(1.0f);
    x = (x * 2.0f - 1.0f) * scale * 0.25f + 0.5f;
    y = (y * 2.0f - 1.0f) * scale * 0.25f + 0.5f;
    z = (z * 2.0f - 1.0f) * scale * 0.25f + 0.5f;
};
auto stride = [&](reals t, reals scale) { return larger(smallest * scale, t * cone); };
const bool even = !contracted && cone == 0.0f;
const float per_step = 1.0f / smallest;
const int blocks_along = resolution / BLOCK;
const float cells = (float)resolution, blocks = (float)blocks_along, cell = 1.0f / cells, block = 1.0f / blocks;
auto bytes_at = [](const unsigned char* from, integers places) {
    typedef unsigned char bytes __attribute__((vector_size(LANES)));
    int each[LANES];
    __builtin_memcpy(each, &places, sizeof(each));
    bytes found;
#pragma clang loop unroll(full)
    for (int s = 0; s < LANES; ++s) found[s] = from[each[s]];
    return __builtin_convertvector(found, integers);
};
auto advance = [&](int at) {
    const reals ox = load(origin_x + at), oy = load(origin_y + at), oz = load(origin_z + at);
    const reals dx = load(direction_x + at), dy = load(direction_y + at), dz = load(direction_z + at);
    const reals begin = load(t_begin + at), end = load(t_end + at);
    reals t = load(t_now + at), steps = load(num_steps + at);
    integers looking = t < end;
    while (__builtin_reduce_or(looking)) {
        const reals px = ox + dx * t, py = oy + dy * t, pz = oz + dz * t;
        reals x = px, y = py, z = pz;
        contract(x, y, z);
        const reals fx = __builtin_elementwise_floor(x * cells), fy = __builtin_elementwise_floor(y * cells);
        const reals fz = __builtin_elementwise_floor(z * cells);
        const integers inside = (fx >= 0.0f) & (fy >= 0.0f) & (fz >= 0.0f) & (fx < cells) & (fy < cells) & (fz < cells);
        const integers i = __builtin_convertvector(inside ? fx : everywhere(0.0f), integers);
        const integers j = __builtin_convertvector(inside ? fy : everywhere(0.0f), integers);
        const integers k = __builtin_convertvector(inside ? fz : everywhere(0.0f), integers);
        const integers away = bytes_at(empty, ((i >> BLOCK_SHIFT) * blocks_along + (j >> BLOCK_SHIFT)) * blocks_along +
                                                  (k >> BLOCK_SHIFT));
        const integers byte = bytes_at(bits, (i * resolution + j) * (resolution >> 3) + (k >> 3));
        looking &= ~(inside & ((byte >> (k & 7) & 1) != 0));
        if (contracted) {
            t = looking ? t + stride(t, contraction_scale(px, py, pz)) : t;
        } else {
            const integers whole_blocks = away != 0;
            const reals parts = whole_blocks ? everywhere(blocks) : everywhere(cells);
            const reals edge = whole_blocks ? everywhere(block) : everywhere(cell);
            const reals many = whole_blocks ? __builtin_convertvector(away, reals) : everywhere(1.0f);
            auto exit = [&](reals p, const float* inverse) {
                const reals per = load(inverse + at), ahead = per > 0.0f ? many : 1.0f - many;
                return ((__builtin_elementwise_floor(p * parts) + ahead) * edge - p) * per;
            };
            const reals further = smaller(exit(pz, inverse_z), smaller(exit(py, inverse_y), exit(px, inverse_x)));
            if (even) {
                const reals skipped = larger(__builtin_elementwise_ceil(further * per_step), everywhere(1.0f));
                steps = looking ? steps + (inside ? skipped : everywhere(1.0f)) : steps;
                t = looking ? begin + steps * smallest : t;
            } else {
                const reals until = inside ? smaller(t + further, end) : t;
                integers going = looking;
                do {
                    t = going ? t + stride(t, everywhere(1.0f)) : t;
                    going &= t < until;
                } while (__builtin_reduce_or(going));
            }
        }
        looking &= t < end;
    }
    store(t_now + at, t);
    store(num_steps + at, steps);
};
