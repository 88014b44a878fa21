// Inside a loop over `corner` 0..7, after corners.inl: index [NUM_POINTS], the entry of each point in its level of
// `size` entries, and wx, wy, wz [NUM_POINTS], pointers to its weights.
unsigned index[NUM_POINTS];
const unsigned* xs = x[corner & 1];
const unsigned* ys = y[corner >> 1 & 1];
const unsigned* zs = z[corner >> 2];
if (dense)
    for (int s = 0; s < NUM_POINTS; ++s) {
        const unsigned at = xs[s] + ys[s] + zs[s];
        index[s] = at < size ? at : at - size;
    }
else
    for (int s = 0; s < NUM_POINTS; ++s) index[s] = (xs[s] ^ ys[s] ^ zs[s]) & (size - 1u);
const float* wx = fx[corner & 1];
const float* wy = fy[corner >> 1 & 1];
const float* wz = fz[corner >> 2];
#undef NUM_POINTS
