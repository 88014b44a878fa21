// The samples of a wave, `n` of them, AHEAD of each ray: where in the unit cube (xs, ys, zs), where along the ray
// (depths), how long (lengths), whose (slots). Those of a ray stand front to back.
int n = 0;
for (int i = active; i < active + LANES; ++i) t_end[i] = -__builtin_inff(); // no ray there
for (int slot = 0; slot < active; slot += LANES)
    for (int step = 0; step < AHEAD; ++step) {
        const reals t = load(t_now + slot), so_far = load(num_samples + slot), steps = load(num_steps + slot) + 1.0f;
        reals x = load(origin_x + slot) + load(direction_x + slot) * t;
        reals y = load(origin_y + slot) + load(direction_y + slot) * t;
        reals z = load(origin_z + slot) + load(direction_z + slot) * t;
        const reals scale = contraction_scale(x, y, z), further = stride(t, scale), length = further / scale;
        contract(x, y, z);
        const reals zero = {}, one = everywhere(1.0f);
        x = smaller(larger(x, zero), one);
        y = smaller(larger(y, zero), one);
        z = smaller(larger(z, zero), one);
        const integers here = (t < load(t_end + slot)) & (so_far < (float)most);
        if (__builtin_reduce_and(here)) {
            store(xs + n, x);
            store(ys + n, y);
            store(zs + n, z);
            store(depths + n, t);
            store(lengths + n, length);
            for (int s = 0; s < LANES; ++s) slots[n + s] = slot + s;
            n += LANES;
        } else
            for (int s = 0; s < LANES; ++s)
                if (here[s]) {
                    xs[n] = x[s];
                    ys[n] = y[s];
                    zs[n] = z[s];
                    depths[n] = t[s];
                    lengths[n] = length[s];
                    slots[n++] = slot + s;
                }
        store(num_samples + slot, so_far + 1.0f);
        store(num_steps + slot, steps);
        store(t_now + slot, even ? load(t_begin + slot) + steps * smallest : t + further);
        advance(slot);
    }
