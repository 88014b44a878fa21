// Makes `retire_rays()`, after which the rays of the pool, `active` of them, are those that go on; and `add_rays()`,
// which takes rays until the pool is full or there are no `more`: those that meet something, at their first sample.
int active = 0;
bool more = true;
auto move = [&](int from, int to) {
    rays[to] = rays[from];
#define MOVE(FIELD) FIELD[to] = FIELD[from];
    RAY_FIELDS(MOVE)
#undef MOVE
};
auto retire_rays = [&]() {
    for (int slot = 0; slot < active;) {
        if (transmittance[slot] > threshold && t_now[slot] < t_end[slot] && num_samples[slot] < (float)most) {
            ++slot;
            continue;
        }
        if (transmittance[slot] != group_transmittance[slot]) finish_group(slot);
        float* pixel = pixels + 5 * (size_t)rays[slot];
        pixel[3] = 1.0f - transmittance[slot];
        pixel[4] = depth[slot];
        if (--active == slot) break;
        move(active, slot); // the last one takes its place
        __builtin_memcpy(group_sum + GEOMETRY * slot, group_sum + GEOMETRY * active, 4 * GEOMETRY);
        __builtin_memcpy(view_layer + HIDDEN * slot, view_layer + HIDDEN * active, 4 * HIDDEN);
    }
};
auto add_rays = [&]() {
    while (more && active + TOGETHER <= POOL) {
        const int from = __atomic_fetch_add((int*)next_ray_at, 1, __ATOMIC_RELAXED) * TOGETHER;
        const int first = active, end = first + (count - from < TOGETHER ? count - from : TOGETHER);
        more = from + TOGETHER < count;
        for (int slot = first; slot < end; ++slot) {
            const int ray = from + slot - first;
            const float* o = origins + 3 * (size_t)ray;
            const float* d = directions + 3 * (size_t)ray;
            auto inverse = [](float x) { return x > 1e-12f || x < -1e-12f ? 1.0f / x : 1e30f; };
            origin_x[slot] = o[0];
            origin_y[slot] = o[1];
            origin_z[slot] = o[2];
            direction_x[slot] = d[0];
            direction_y[slot] = d[1];
            direction_z[slot] = d[2];
            inverse_x[slot] = inverse(d[0]);
            inverse_y[slot] = inverse(d[1]);
            inverse_z[slot] = inverse(d[2]);
            rays[slot] = ray;
            t_now[slot] = near[ray];
            t_end[slot] = far[ray];
            t_begin[slot] = jitter[ray]; // in steps, so far
            num_steps[slot] = num_samples[slot] = opacity_bin[slot] = depth[slot] = 0.0f;
            transmittance[slot] = group_transmittance[slot] = 1.0f;
        }
        for (int slot = first; slot < end; slot += LANES) {
            for (int i = end; i < slot + LANES; ++i) t_end[i] = -__builtin_inff();
            const reals t = load(t_now + slot);
            const reals x = load(origin_x + slot) + load(direction_x + slot) * t;
            const reals y = load(origin_y + slot) + load(direction_y + slot) * t;
            const reals z = load(origin_z + slot) + load(direction_z + slot) * t;
            const reals late = t + load(t_begin + slot) * stride(t, contraction_scale(x, y, z));
            store(t_begin + slot, late);
            store(t_now + slot, late);
            advance(slot);
        }
        for (int slot = first; slot < end; ++slot)
            if (t_now[slot] < t_end[slot]) {
                __builtin_memset(group_sum + GEOMETRY * active, 0, 4 * GEOMETRY);
                move(slot, active++);
            }
    }
};
