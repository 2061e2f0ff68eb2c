/* Distances from each of two surfaces to the other: a neighbourhood search, and a tree for what lies further away. */
#include "kernels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* After this many misses in a row the neighbourhood is tried for one position in eight only. */
#define PATIENCE 24
/* So many misses are worth a look at their spread, and so many additions each instead of a walk down the tree (measured). */
#define MANY 512
#define WORTH 250.0
/* Missed positions that are tried first, and additions that a look at one of the tree's positions is worth (measured). */
#define PROBES 32
#define LOOK 4.0

typedef struct {
    int64_t count, room;
    int64_t *at; /* positions in the padded array */
} list_t;

typedef struct {
    const uint8_t *target;
    const int64_t *steps; /* the neighbourhood's offsets in the padded array */
    double *reached;      /* weight by rank of distance */
    int64_t coincident[256];
    int64_t misses_in_row;
    list_t missed;
} search_t;

static int append(list_t *list, int64_t at) {
    if (list->count == list->room) {
        const int64_t room = list->room ? 2 * list->room : 1024;
        int64_t *grown = realloc(list->at, sizeof(int64_t) * (size_t)room);
        if (grown == NULL) return -1;
        list->at = grown;
        list->room = room;
    }
    list->at[list->count++] = at;
    return 0;
}

/* First offset at which the target has an element, or -1. */
INLINE int64_t first_hit(const uint8_t *at, const int64_t *steps, int64_t count) {
    int64_t t = 1;
    for (; t + 4 <= count; t += 4)
        if (at[steps[t]] | at[steps[t + 1]] | at[steps[t + 2]] | at[steps[t + 3]]) break;
    for (; t < count; t++)
        if (at[steps[t]]) return t;
    return -1;
}

INLINE int look(search_t *search, int64_t at, double weight, const neighbours_t *near) {
    if (search->misses_in_row < PATIENCE || search->missed.count % 8 == 0) {
        const int64_t hit = first_hit(search->target + at, search->steps, near->count);
        if (hit >= 0) {
            search->reached[near->ranks[hit]] += weight;
            search->misses_in_row = 0;
            return 0;
        }
        search->misses_in_row++;
    }
    return append(&search->missed, at);
}

static int look_all(const surface_t *first, const surface_t *second, const double *weights, const neighbours_t *near,
                    search_t search[2]) {
    const int64_t *shape = first->shape, *margin = first->margin;
    const int64_t length = shape[2] - 2 * margin[2];
    for (int64_t x = margin[0]; x < shape[0] - margin[0]; x++)
        for (int64_t y = margin[1]; y < shape[1] - margin[1]; y++) {
            const int64_t start = (x * shape[1] + y) * shape[2] + margin[2];
            const uint8_t *a = first->codes + start, *b = second->codes + start;
            for (int64_t z = 0; z < length;) {
                uint64_t word_a, word_b;
                if (z + 8 <= length) {
                    memcpy(&word_a, a + z, 8);
                    memcpy(&word_b, b + z, 8);
                    if (!(word_a | word_b)) {
                        z += 8;
                        continue;
                    }
                }
                const int64_t end = z + 8 <= length ? z + 8 : length;
                for (; z < end; z++) {
                    if (a[z] && b[z]) {
                        search[0].coincident[a[z]]++;
                        search[1].coincident[b[z]]++;
                    } else if (a[z]) {
                        if (look(search, start + z, weights[a[z]], near)) return -1;
                    } else if (b[z]) {
                        if (look(search + 1, start + z, weights[b[z]], near)) return -1;
                    }
                }
            }
        }
    return 0;
}

typedef struct {
    double distance, weight;
} entry_t;

#define DIGIT 11 /* bits: six digits make a double */

/* Radix sort by distance: doubles that are not negative sort as their bits do. Half of `entries` is the work space. */
static void sort_entries(entry_t *entries, int64_t count) {
    entry_t *from = entries, *to = entries + count;
    for (int digit = 0; digit < 6; digit++) {
        int64_t starts[1 << DIGIT] = {0}, sum = 0;
        const int shift = digit * DIGIT;
        for (int64_t i = 0; i < count; i++) {
            uint64_t bits;
            memcpy(&bits, &from[i].distance, 8);
            starts[bits >> shift & ((1 << DIGIT) - 1)]++;
        }
        for (int value = 0; value < 1 << DIGIT; value++) {
            const int64_t size = starts[value];
            starts[value] = sum;
            sum += size;
        }
        for (int64_t i = 0; i < count; i++) {
            uint64_t bits;
            memcpy(&bits, &from[i].distance, 8);
            to[starts[bits >> shift & ((1 << DIGIT) - 1)]++] = from[i];
        }
        entry_t *swap = from;
        from = to;
        to = swap;
    } /* an even number of passes: the result lies in the first half again */
}

INLINE double one_by_tree(tree_t *tree, const surface_t *target, int64_t at, int64_t *hint) {
    const int64_t row = at / target->shape[2];
    const int32_t point[3] = {(int32_t)(row / target->shape[1]), (int32_t)(row % target->shape[1]),
                              (int32_t)(at % target->shape[2])};
    return tree_nearest(tree, point, hint);
}

/* Additions for which the tree would find all missed positions, by some that are spread over them. */
static double tree_cost(tree_t *tree, const surface_t *target, const list_t *missed, int64_t *hint) {
    for (int64_t i = 0; i < PROBES; i++) one_by_tree(tree, target, missed->at[i * (missed->count / PROBES)], hint);
    return LOOK * (double)tree_looked_at(tree) / PROBES * (double)missed->count;
}

/* Squared distances of the missed positions by the tree of the other surface; unless that would look at much of it, as from
   the middle of a hollow surface, which is as near to everything. */
static int by_tree(const surface_t *target, const metric_t *metric, const list_t *missed, sweep_t *sweep, double *squared) {
    tree_t *tree = tree_build(target, metric);
    if (tree == NULL) return -1;
    int64_t hint = -1;
    const int swept =
        sweep != NULL && sweep_cost(sweep, missed->count) < tree_cost(tree, target, missed, &hint);
    if (!swept)
        for (int64_t i = 0; i < missed->count; i++) squared[i] = one_by_tree(tree, target, missed->at[i], &hint);
    tree_free(tree);
    return swept ? sweep_run(sweep, missed->at, missed->count, squared) : 0;
}

/* What the neighbourhood did not reach: by axes where that is cheap, else by a tree; the distances are the same. */
static int far_entries(const surface_t *source, const surface_t *target, const double *weights,
                       const metric_t *metric, const list_t *missed, entry_t *entries) {
    double *squared = malloc(sizeof(double) * (size_t)missed->count);
    sweep_t *sweep = missed->count < MANY ? NULL : sweep_plan(target, metric, missed->at, missed->count);
    int failed = squared == NULL || (sweep == NULL && missed->count >= MANY);
    if (!failed && sweep != NULL && sweep_cost(sweep, missed->count) < WORTH * (double)missed->count)
        failed = sweep_run(sweep, missed->at, missed->count, squared);
    else if (!failed)
        failed = by_tree(target, metric, missed, sweep, squared);
    for (int64_t i = 0; i < missed->count && !failed; i++) {
        entries[i].distance = sqrt(squared[i]);
        entries[i].weight = weights[source->codes[missed->at[i]]];
    }
    if (sweep != NULL) sweep_free(sweep);
    free(squared);
    return failed ? -1 : 0;
}

static int make_table(const surface_t *source, const surface_t *target, const double *weights,
                      const neighbours_t *near, const metric_t *metric, const search_t *search, table_t *table) {
    const int64_t room = near->n_ranks + search->missed.count;
    entry_t *entries = malloc(2 * sizeof(entry_t) * (size_t)(room + 1)); /* sorting needs as much again */
    if (entries == NULL) return -1;
    int64_t count = 0;
    for (int code = 1; code < 256; code++) search->reached[0] += (double)search->coincident[code] * weights[code];
    for (int64_t rank = 0; rank < near->n_ranks; rank++)
        if (search->reached[rank] > 0.0) entries[count++] = (entry_t){near->distances[rank], search->reached[rank]};
    if (search->missed.count) {
        if (far_entries(source, target, weights, metric, &search->missed, entries + count)) {
            free(entries);
            return -1;
        }
        count += search->missed.count;
        sort_entries(entries, count);
    }
    table->distances = malloc(sizeof(double) * (size_t)(count + 1));
    table->weights = malloc(sizeof(double) * (size_t)(count + 1));
    if (table->distances != NULL && table->weights != NULL) {
        int64_t kept = 0; /* equal distances become one entry */
        for (int64_t i = 0; i < count; i++) {
            if (kept && table->distances[kept - 1] == entries[i].distance) {
                table->weights[kept - 1] += entries[i].weight;
                continue;
            }
            table->distances[kept] = entries[i].distance;
            table->weights[kept++] = entries[i].weight;
        }
        table->count = kept;
    }
    free(entries);
    return table->distances == NULL || table->weights == NULL ? -1 : 0;
}

int surface_distances(const surface_t *first, const surface_t *second, const double weights[256],
                      const neighbours_t *near, const metric_t *metric, table_t result[2]) {
    search_t search[2];
    memset(search, 0, sizeof search);
    int failed = 0;
    int64_t *steps = malloc(sizeof(int64_t) * (size_t)near->count);
    for (int way = 0; way < 2; way++) {
        search[way].target = way ? first->codes : second->codes;
        search[way].steps = steps;
        search[way].reached = calloc((size_t)near->n_ranks, sizeof(double));
        failed |= search[way].reached == NULL;
    }
    if (steps == NULL) failed = 1;
    if (!failed) {
        for (int64_t t = 0; t < near->count; t++) {
            const int32_t *offset = near->offsets + 3 * t;
            steps[t] = (offset[0] * first->shape[1] + offset[1]) * first->shape[2] + offset[2];
        }
        failed = look_all(first, second, weights, near, search) != 0;
    }
    if (!failed) failed = make_table(first, second, weights, near, metric, search, result) != 0;
    if (!failed) failed = make_table(second, first, weights, near, metric, search + 1, result + 1) != 0;
    for (int way = 0; way < 2; way++) {
        free(search[way].reached);
        free(search[way].missed.at);
    }
    free(steps);
    return failed ? -1 : 0;
}
