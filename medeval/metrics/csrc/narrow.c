/* Label maps of wider types as bytes, in one read of them. */
#include "kernels.h"

#define BLOCK 8192

/* Signed labels are read as unsigned ones: a negative label is then a large one, and does not fit. */
#define NARROW(NAME, TYPE, VALUE, MISFIT)                                                    \
    VECTORISED static int64_t NAME(const TYPE *RESTRICT from, int64_t n, uint8_t *RESTRICT to) { \
        for (int64_t start = 0; start < n; start += BLOCK) {                          \
            const int64_t stop = start + BLOCK < n ? start + BLOCK : n;               \
            unsigned wrong = 0;                                                       \
            for (int64_t i = start; i < stop; i++) {                                  \
                to[i] = (uint8_t)(VALUE);                                             \
                wrong |= MISFIT;                                                      \
            }                                                                         \
            if (wrong) return start;                                                  \
        }                                                                             \
        return -1;                                                                    \
    }

/* NaN and what lies outside [0, 255] become a value that differs from the original. */
#define CLAMPED (from[i] > 0 ? (from[i] < 255 ? from[i] : 255) : 0)

NARROW(narrow_2, uint16_t, from[i], from[i] > 255)
NARROW(narrow_4, uint32_t, from[i], from[i] > 255)
NARROW(narrow_8, uint64_t, from[i], from[i] > 255)
NARROW(narrow_float, float, CLAMPED, (float)to[i] != from[i])
NARROW(narrow_double, double, CLAMPED, (double)to[i] != from[i])

int64_t narrow(const void *from, int floating, int itemsize, int64_t n, uint8_t *to) {
    if (floating) return itemsize == 4 ? narrow_float(from, n, to) : narrow_double(from, n, to);
    return itemsize == 2 ? narrow_2(from, n, to) : itemsize == 4 ? narrow_4(from, n, to) : narrow_8(from, n, to);
}
