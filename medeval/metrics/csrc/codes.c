/* Surfaces of a mask as bytes. Whole rows are combined byte by byte, which compilers turn into vector code. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* out[z] = 1 where row[z] is one of the values. */
VECTORISED static void select_row(const uint8_t *RESTRICT row, int64_t n, const uint8_t *values, int n_values,
                                  uint8_t *RESTRICT out) {
    const uint8_t first = values[0];
    for (int64_t z = 0; z < n; z++) out[z] = row[z] == first;
    for (int v = 1; v < n_values; v++) {
        const uint8_t value = values[v];
        for (int64_t z = 0; z < n; z++) out[z] |= row[z] == value;
    }
}

/* pair[z] = 16 * previous plane's bit + this plane's bit, in place of (16 * one before + previous). */
VECTORISED static void shift_row(const uint8_t *RESTRICT row, int64_t n, const uint8_t *values, int n_values,
                                 uint8_t *RESTRICT pair) {
    const uint8_t first = values[0];
    if (n_values == 1) {
        for (int64_t z = 0; z < n; z++)
            pair[z] = (uint8_t)((uint8_t)(pair[z] << 4) | (uint8_t)(row[z] == first));
        return;
    }
    for (int64_t z = 0; z < n; z++) pair[z] = (uint8_t)(pair[z] << 4);
    for (int v = 0; v < n_values; v++) {
        const uint8_t value = values[v];
        for (int64_t z = 0; z < n; z++) pair[z] |= row[z] == value;
    }
}

VECTORISED static void fade_row(int64_t n, uint8_t *pair) {
    for (int64_t z = 0; z < n; z++) pair[z] = (uint8_t)(pair[z] << 4);
}

/* Codes of the corners between two rows of pairs; low and high have a zero on both ends of their n values. */
VECTORISED static void code_row(const uint8_t *RESTRICT low, const uint8_t *RESTRICT high, int64_t n, int shift,
                                uint8_t full, uint8_t *RESTRICT codes) {
    for (int64_t z = 0; z <= n; z++) {
        const uint8_t before = (uint8_t)((low[z] << shift) | high[z]);
        const uint8_t after = (uint8_t)((low[z + 1] << shift) | high[z + 1]);
        const uint8_t code = (uint8_t)((before << 1) | after);
        codes[z] = code == full ? 0 : code;
    }
}

INLINE uint8_t *row_of(const surface_t *s, int64_t x, int64_t y) {
    return s->codes + ((x + s->margin[0]) * s->shape[1] + y + s->margin[1]) * s->shape[2] + s->margin[2];
}

int surfel_surface(const view_t *map, const uint8_t *values, int n_values, int flat, surface_t *surface) {
    const int64_t *n = map->shape;
    const int64_t width = n[2] + 2;
    uint8_t *pairs = calloc((size_t)((n[1] + 2) * width), 1); /* a row of zeros before and after */
    if (pairs == NULL) return -1;
    for (int64_t x = 0; x < n[0] + (flat ? 0 : 1); x++) {
        for (int64_t y = 0; y < n[1]; y++) {
            uint8_t *pair = pairs + (y + 1) * width + 1;
            if (x < n[0])
                shift_row(map->data + x * map->stride[0] + y * map->stride[1], n[2], values, n_values, pair);
            else
                fade_row(n[2], pair);
        }
        for (int64_t y = 0; y <= n[1]; y++) {
            const uint8_t *low = pairs + y * width;
            code_row(low, low + width, n[2], 2, flat ? 15 : 255, row_of(surface, x, y));
        }
    }
    free(pairs);
    return 0;
}

/* Voxels of `here` of which one of the neighbours is missing. */
VECTORISED static void border_row(const uint8_t *RESTRICT here, const uint8_t *RESTRICT north,
                                  const uint8_t *RESTRICT south, const uint8_t *RESTRICT above,
                                  const uint8_t *RESTRICT below, int64_t n, uint8_t *RESTRICT border) {
    for (int64_t z = 0; z < n; z++)
        border[z] = here[z] & (uint8_t)(1 ^ (here[z - 1] & here[z + 1] & north[z] & south[z] & above[z] & below[z]));
}

int voxel_surface(const view_t *map, const uint8_t *values, int n_values, int flat, surface_t *surface) {
    const int64_t *n = map->shape;
    const int64_t width = n[2] + 2, plane = (n[1] + 2) * width;
    uint8_t *planes = calloc((size_t)(3 * plane), 1);
    if (planes == NULL) return -1;
    for (int64_t x = 0; x <= n[0]; x++) { /* plane x is read while plane x - 1 is written */
        uint8_t *next = planes + (x % 3) * plane;
        if (x < n[0])
            for (int64_t y = 0; y < n[1]; y++)
                select_row(map->data + x * map->stride[0] + y * map->stride[1], n[2], values, n_values,
                           next + (y + 1) * width + 1);
        else
            memset(next, 0, (size_t)plane);
        if (x == 0) continue;
        const uint8_t *here = planes + ((x - 1) % 3) * plane, *last = planes + ((x + 1) % 3) * plane;
        for (int64_t y = 0; y < n[1]; y++) {
            const int64_t at = (y + 1) * width + 1;
            const uint8_t *above = flat ? here : last, *below = flat ? here : next;
            border_row(here + at, here + at - width, here + at + width, above + at, below + at, n[2],
                       row_of(surface, x - 1, y));
        }
    }
    free(planes);
    return 0;
}
