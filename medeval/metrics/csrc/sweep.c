/* Exact nearest distances axis by axis, for many points that are all far from a surface, where a tree has to look everywhere.

   A squared distance is (a + b) + c, summed in the caller's order, and rounding is monotone in each part: so the least sum
   is found by taking the least over the first axis, then over the second, then over the third, with the very same roundings
   as a comparison of all pairs. The first two parts may change places, for a + b == b + a. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_CELLS ((int64_t)1 << 24) /* of the box around the target: four bytes each */
#define FAR 1000000000.0              /* steps to an element that is not there */
#define NEVER 1e300                   /* its square: never the least */
#define NONE INT32_MAX

/* Positions are along u (swept plane by plane), v and w (the axis whose square is added last). */
struct sweep {
    const surface_t *target;
    const metric_t *metric;
    int axis[3];                /* u, v, w as axes of the arrays */
    int64_t low[3], size[3];    /* box around the target's elements */
    int64_t from[3], extent[3]; /* box around the points */
    int32_t *next;              /* (u, v, w): the element's u that is next from here on, NONE for none */
    int32_t *last;              /* (v, w): the one before the plane that is swept */
    double *first;              /* (v, w): least square along u */
    double *both;               /* (w): least square along u and v */
    double *second, *third;     /* squares of steps along v and w, by difference of positions */
    int64_t *starts, *points;   /* points by (u, v) */
};

static int64_t stride_of(const surface_t *s, int axis) {
    return axis == 2 ? 1 : axis == 1 ? s->shape[2] : s->shape[1] * s->shape[2];
}

static void place_of(const surface_t *s, int64_t at, int64_t position[3]) {
    position[2] = at % s->shape[2];
    position[1] = at / s->shape[2] % s->shape[1];
    position[0] = at / s->shape[2] / s->shape[1];
}

/* The box around all elements, in the arrays' axes. */
static void element_box(const surface_t *s, int64_t low[3], int64_t high[3]) {
    for (int axis = 0; axis < 3; axis++) {
        low[axis] = INT64_MAX;
        high[axis] = -1;
    }
    for (int64_t x = s->margin[0]; x < s->shape[0] - s->margin[0]; x++)
        for (int64_t y = s->margin[1]; y < s->shape[1] - s->margin[1]; y++) {
            const uint8_t *row = s->codes + (x * s->shape[1] + y) * s->shape[2];
            int64_t first = s->margin[2], end = s->shape[2] - s->margin[2];
            uint64_t eight;
            while (first + 8 <= end && (memcpy(&eight, row + first, 8), !eight)) first += 8;
            while (first < end && !row[first]) first++;
            if (first == end) continue;
            while (first + 8 <= end && (memcpy(&eight, row + end - 8, 8), !eight)) end -= 8;
            while (!row[end - 1]) end--;
            const int64_t at[3] = {x, y, first}, to[3] = {x, y, end - 1};
            for (int axis = 0; axis < 3; axis++) {
                if (at[axis] < low[axis]) low[axis] = at[axis];
                if (to[axis] > high[axis]) high[axis] = to[axis];
            }
        }
}

sweep_t *sweep_plan(const surface_t *target, const metric_t *metric, const int64_t *at, int64_t count) {
    sweep_t *s = calloc(1, sizeof *s);
    if (s == NULL) return NULL;
    int64_t low[3], high[3], from[3] = {INT64_MAX, INT64_MAX, INT64_MAX}, to[3] = {-1, -1, -1}, place[3];
    s->target = target;
    s->metric = metric;
    element_box(target, low, high);
    for (int64_t i = 0; i < count; i++) {
        place_of(target, at[i], place);
        for (int axis = 0; axis < 3; axis++) {
            if (place[axis] < from[axis]) from[axis] = place[axis];
            if (place[axis] > to[axis]) to[axis] = place[axis];
        }
    }
    const int one = metric->order[0], two = metric->order[1];
    s->axis[0] = one < two ? one : two; /* the slower one is swept */
    s->axis[1] = one < two ? two : one;
    s->axis[2] = metric->order[2];
    for (int k = 0; k < 3; k++) {
        s->low[k] = low[s->axis[k]];
        s->size[k] = high[s->axis[k]] - low[s->axis[k]] + 1;
        s->from[k] = from[s->axis[k]];
        s->extent[k] = to[s->axis[k]] - from[s->axis[k]] + 1;
    }
    return s;
}

double sweep_cost(const sweep_t *s, int64_t count) {
    if (s->size[0] * s->size[1] * s->size[2] > MOST_CELLS || s->extent[0] * s->extent[1] > MOST_CELLS) return INFINITY;
    const double plane = (double)(s->size[1] * s->size[2]);
    double columns = (double)(s->extent[0] * s->extent[1]);
    if (columns > (double)count) columns = (double)count;
    return (double)(s->size[0] + s->extent[0]) * plane * 2.0 + columns * plane + (double)(count * s->size[2]);
}

/* squares[d + reach] of steps d along an axis, from -reach to reach. */
static double *squares_of(double spacing, int64_t reach) {
    double *squares = malloc(sizeof(double) * (size_t)(2 * reach + 1));
    for (int64_t d = -reach; squares != NULL && d <= reach; d++) {
        const double step = (double)(int32_t)d * spacing;
        squares[d + reach] = step * step;
    }
    return squares;
}

/* Steps between a point and an element along axis k are at most this. */
static int64_t reach_of(const sweep_t *s, int k) {
    const int64_t down = s->from[k] + s->extent[k] - s->low[k], up = s->low[k] + s->size[k] - s->from[k];
    const int64_t most = down > up ? down : up;
    return most > 0 ? most : 1;
}

/* Points in order of (u, v), and where each (u, v) begins. */
static void sort_points(sweep_t *s, const int64_t *at, int64_t count) {
    const int64_t columns = s->extent[0] * s->extent[1];
    int64_t place[3];
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < count; i++) {
            place_of(s->target, at[i], place);
            const int64_t u = place[s->axis[0]] - s->from[0], v = place[s->axis[1]] - s->from[1];
            int64_t *start = s->starts + u * s->extent[1] + v;
            if (pass)
                s->points[(*start)++] = i;
            else
                start[1]++;
        }
        if (!pass)
            for (int64_t column = 0; column < columns; column++) s->starts[column + 1] += s->starts[column];
    }
    memmove(s->starts + 1, s->starts, sizeof(int64_t) * (size_t)columns); /* each had moved to the next one's start */
    s->starts[0] = 0;
}

static void find_next(sweep_t *s) {
    const int64_t *size = s->size, plane = size[1] * size[2];
    const int64_t step_w = stride_of(s->target, s->axis[2]);
    int64_t origin = 0;
    for (int k = 0; k < 3; k++) origin += s->low[k] * stride_of(s->target, s->axis[k]);
    for (int64_t u = size[0] - 1; u >= 0; u--)
        for (int64_t v = 0; v < size[1]; v++) {
            const uint8_t *code = s->target->codes + origin + u * stride_of(s->target, s->axis[0]) +
                                  v * stride_of(s->target, s->axis[1]);
            int32_t *next = s->next + u * plane + v * size[2];
            for (int64_t w = 0; w < size[2]; w++) {
                const int32_t later = u + 1 < size[0] ? next[w + plane] : NONE;
                next[w] = code[w * step_w] ? (int32_t)u : later;
            }
        }
}

/* first[v, w]: least square along u from the plane `u`, which may lie outside of the target's box. */
static void along_u(sweep_t *s, int64_t u, int64_t swept) {
    const int64_t plane = s->size[1] * s->size[2], inside = u < 0 ? 0 : u < s->size[0] ? u : s->size[0] - 1;
    for (; swept <= inside && u >= 0; swept++) /* planes up to this one */
        for (int64_t i = 0; i < plane; i++)
            if (s->next[swept * plane + i] == (int32_t)swept) s->last[i] = (int32_t)swept;
    const int32_t *next = s->next + inside * plane;
    const double spacing = s->metric->spacing[s->axis[0]];
    for (int64_t i = 0; i < plane; i++) {
        const double up = next[i] == NONE || u >= s->size[0] ? FAR : (double)(next[i] - (int32_t)u);
        const double down = s->last[i] == NONE ? FAR : (double)((int32_t)u - s->last[i]);
        const double steps = up < down ? up : down, step = steps * spacing;
        s->first[i] = steps == FAR ? NEVER : step * step; /* a flat axis has spacing 0 */
    }
}

VECTORISED static void least_row(const double *RESTRICT row, double square, int64_t n, double *RESTRICT least) {
    for (int64_t w = 0; w < n; w++) {
        const double sum = row[w] + square;
        least[w] = sum < least[w] ? sum : least[w];
    }
}

VECTORISED static double least_sum(const double *RESTRICT both, const double *RESTRICT squares, int64_t n) {
    double least[8];
    int64_t w = 0;
    for (int i = 0; i < 8; i++) least[i] = both[0] + squares[0];
    for (; w + 8 <= n; w += 8)
        for (int i = 0; i < 8; i++) {
            const double sum = both[w + i] + squares[w + i];
            least[i] = sum < least[i] ? sum : least[i];
        }
    for (; w < n; w++) least[0] = both[w] + squares[w] < least[0] ? both[w] + squares[w] : least[0];
    for (int i = 1; i < 8; i++) least[0] = least[i] < least[0] ? least[i] : least[0];
    return least[0];
}

static void sweep(sweep_t *s, const int64_t *at, double *squared) {
    const int64_t *size = s->size, reach_v = reach_of(s, 1), reach_w = reach_of(s, 2);
    int64_t place[3], swept = 0;
    for (int64_t column = 0; column < s->extent[0] * s->extent[1]; column++) {
        const int64_t begin = s->starts[column], end = s->starts[column + 1];
        if (column % s->extent[1] == 0) {
            const int64_t u = column / s->extent[1] + s->from[0] - s->low[0];
            along_u(s, u, swept);
            swept = u < 0 ? 0 : (u < size[0] ? u : size[0] - 1) + 1;
        }
        if (begin == end) continue;
        const int64_t v = column % s->extent[1] + s->from[1] - s->low[1];
        for (int64_t w = 0; w < size[2]; w++) s->both[w] = s->first[w] + s->second[reach_v - v];
        for (int64_t j = 1; j < size[1]; j++)
            least_row(s->first + j * size[2], s->second[reach_v + j - v], size[2], s->both);
        for (int64_t i = begin; i < end; i++) {
            place_of(s->target, at[s->points[i]], place);
            const int64_t w = place[s->axis[2]] - s->low[2];
            squared[s->points[i]] = least_sum(s->both, s->third + reach_w - w, size[2]);
        }
    }
}

int sweep_run(sweep_t *s, const int64_t *at, int64_t count, double *squared) {
    const int64_t plane = s->size[1] * s->size[2], columns = s->extent[0] * s->extent[1];
    s->next = malloc(sizeof(int32_t) * (size_t)(s->size[0] * plane));
    s->last = malloc(sizeof(int32_t) * (size_t)plane);
    s->first = malloc(sizeof(double) * (size_t)plane);
    s->both = malloc(sizeof(double) * (size_t)s->size[2]);
    s->second = squares_of(s->metric->spacing[s->axis[1]], reach_of(s, 1));
    s->third = squares_of(s->metric->spacing[s->axis[2]], reach_of(s, 2));
    s->starts = calloc((size_t)(columns + 1), sizeof(int64_t));
    s->points = malloc(sizeof(int64_t) * (size_t)count);
    if (!(s->next && s->last && s->first && s->both && s->second && s->third && s->starts && s->points)) return -1;
    for (int64_t i = 0; i < plane; i++) s->last[i] = NONE;
    sort_points(s, at, count);
    find_next(s);
    sweep(s, at, squared);
    return 0;
}

void sweep_free(sweep_t *s) {
    free(s->next);
    free(s->last);
    free(s->first);
    free(s->both);
    free(s->second);
    free(s->third);
    free(s->starts);
    free(s->points);
    free(s);
}
