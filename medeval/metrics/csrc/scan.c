/* One pass over two label maps: runs of equal pairs, found eight voxels at a time. */
#include "kernels.h"

#include <string.h>

#define ONES UINT64_C(0x0101010101010101)

INLINE uint64_t word(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, 8);
    return value;
}

/* First index in [t, end) where the pair is not (p, r). */
INLINE int64_t run_end(const uint8_t *pred, const uint8_t *ref, int64_t t, int64_t end, uint8_t p, uint8_t r) {
    const uint64_t wp = p * ONES, wr = r * ONES;
    for (; t + 32 <= end; t += 32) {
        uint64_t other = (word(pred + t) ^ wp) | (word(ref + t) ^ wr);
        other |= (word(pred + t + 8) ^ wp) | (word(ref + t + 8) ^ wr);
        other |= (word(pred + t + 16) ^ wp) | (word(ref + t + 16) ^ wr);
        other |= (word(pred + t + 24) ^ wp) | (word(ref + t + 24) ^ wr);
        if (other) break;
    }
    for (; t + 8 <= end; t += 8)
        if ((word(pred + t) ^ wp) | (word(ref + t) ^ wr)) break;
    while (t < end && pred[t] == p && ref[t] == r) t++;
    return t;
}

INLINE void widen(int64_t *box, int64_t x, int64_t y, int64_t low, int64_t high) {
    if (x < box[0]) box[0] = x;
    if (y < box[1]) box[1] = y;
    if (low < box[2]) box[2] = low;
    if (x > box[3]) box[3] = x;
    if (y > box[4]) box[4] = y;
    if (high > box[5]) box[5] = high;
}

/* `n` voxels that lie side by side in memory, in rows of `length`, of which the first is row (x, y). */
static int scan_block(const uint8_t *pred, const uint8_t *ref, int64_t n, int64_t length, int64_t x, int64_t y,
                      int size, int64_t *counts, int64_t *boxes) {
    int64_t t = 0, row = 0, row_end = length;
    while (t < n) {
        const uint8_t p = pred[t], r = ref[t];
        if (!(p | r)) { /* background runs on over the ends of rows */
            const int64_t end = run_end(pred, ref, t, n, 0, 0);
            counts[0] += end - t;
            t = end;
            continue;
        }
        if (p >= size || r >= size) return p > r ? p : r;
        if (t >= row_end) {
            row = t / length;
            row_end = (row + 1) * length;
        }
        const int64_t end = run_end(pred, ref, t, row_end, p, r);
        const int64_t low = t - (row_end - length), high = end - 1 - (row_end - length);
        counts[(int64_t)p * size + r] += end - t;
        if (p) widen(boxes + 6 * (int64_t)p, x, y + row, low, high);
        if (r && r != p) widen(boxes + 6 * (int64_t)r, x, y + row, low, high);
        t = end;
    }
    return -1;
}

int scan_maps(const view_t *prediction, const view_t *reference, int size, int64_t *counts, int64_t *boxes) {
    const int64_t *shape = prediction->shape;
    const int whole = prediction->stride[1] == shape[2] && reference->stride[1] == shape[2];
    memset(counts, 0, sizeof(int64_t) * (size_t)size * (size_t)size);
    for (int64_t value = 0; value < size; value++)
        for (int axis = 0; axis < 3; axis++) {
            boxes[6 * value + axis] = INT64_MAX;
            boxes[6 * value + 3 + axis] = -1;
        }
    const int64_t rows = whole ? 1 : shape[1], n = whole ? shape[1] * shape[2] : shape[2];
    for (int64_t x = 0; x < shape[0]; x++)
        for (int64_t y = 0; y < rows; y++) {
            const uint8_t *pred = prediction->data + x * prediction->stride[0] + y * prediction->stride[1];
            const uint8_t *ref = reference->data + x * reference->stride[0] + y * reference->stride[1];
            const int wrong = scan_block(pred, ref, n, shape[2], x, y, size, counts, boxes);
            if (wrong >= 0) return wrong;
        }
    return -1;
}
