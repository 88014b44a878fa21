// The next rays [TILE] of an image that have a length, and their distances t [SAMPLES][TILE]. `count` of them are new,
// the rest repeats the last.
int rays[TILE], count = 0;
for (; next < num_rays && count < TILE; ++next) {
    const float* ray = distances + (size_t)next * SAMPLES;
    if (ray[SAMPLES - 1] > ray[0]) rays[count++] = next;
}
if (count == 0) break;
for (int s = count; s < TILE; ++s) rays[s] = rays[count - 1];
float t[SAMPLES * TILE], ox[TILE], oy[TILE], oz[TILE], dx[TILE], dy[TILE], dz[TILE];
for (int s = 0; s < TILE; ++s) {
    const float *o = origins + (size_t)rays[s] * 3, *d = directions + (size_t)rays[s] * 3;
    ox[s] = o[0], oy[s] = o[1], oz[s] = o[2], dx[s] = d[0], dy[s] = d[1], dz[s] = d[2];
    for (int n = 0; n < SAMPLES; ++n) t[n * TILE + s] = distances[(size_t)rays[s] * SAMPLES + n];
}
