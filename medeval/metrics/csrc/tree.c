/* A k-d tree over the positions of one surface, for exact nearest neighbours at any distance. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#define LEAF 12
#define DEPTH 128

typedef struct {
    int32_t at[3];
} position_t;

typedef struct {
    int32_t low[3], high[3];
    int64_t start, stop; /* its positions */
    int64_t left, right; /* its children; left is 0 for a leaf */
} node_t;

struct tree {
    metric_t metric;
    position_t *positions;
    node_t *nodes;
    int64_t n_nodes;
};

static int64_t collect(const surface_t *s, position_t *out) {
    int64_t count = 0;
    for (int64_t x = s->margin[0]; x < s->shape[0] - s->margin[0]; x++)
        for (int64_t y = s->margin[1]; y < s->shape[1] - s->margin[1]; y++) {
            const uint8_t *row = s->codes + (x * s->shape[1] + y) * s->shape[2];
            for (int64_t z = s->margin[2]; z < s->shape[2] - s->margin[2]; z++) {
                if (!row[z]) continue;
                if (out != NULL) out[count] = (position_t){{(int32_t)x, (int32_t)y, (int32_t)z}};
                count++;
            }
        }
    return count;
}

/* Partly sorts [start, stop) along an axis so that the element at `middle` is in its place. */
static void split_at(position_t *p, int64_t start, int64_t stop, int64_t middle, int axis) {
    int64_t low = start, high = stop - 1;
    while (low < high) {
        const int32_t pivot = p[low + (high - low) / 2].at[axis];
        int64_t i = low, j = high;
        while (i <= j) {
            while (p[i].at[axis] < pivot) i++;
            while (p[j].at[axis] > pivot) j--;
            if (i <= j) {
                const position_t swap = p[i];
                p[i++] = p[j];
                p[j--] = swap;
            }
        }
        if (middle <= j) high = j;
        else if (middle >= i) low = i;
        else return;
    }
}

static int64_t add_node(tree_t *tree, int64_t start, int64_t stop) {
    const int64_t index = tree->n_nodes++;
    node_t *node = tree->nodes + index;
    node->start = start;
    node->stop = stop;
    node->left = node->right = 0;
    int widest = 0;
    double extent = -1.0;
    for (int axis = 0; axis < 3; axis++) {
        int32_t low = INT32_MAX, high = INT32_MIN;
        for (int64_t i = start; i < stop; i++) {
            const int32_t at = tree->positions[i].at[axis];
            if (at < low) low = at;
            if (at > high) high = at;
        }
        node->low[axis] = low;
        node->high[axis] = high;
        if ((double)(high - low) * tree->metric.spacing[axis] > extent) {
            extent = (double)(high - low) * tree->metric.spacing[axis];
            widest = axis;
        }
    }
    if (stop - start <= LEAF) return index;
    const int64_t middle = start + (stop - start) / 2;
    split_at(tree->positions, start, stop, middle, widest);
    const int64_t left = add_node(tree, start, middle), right = add_node(tree, middle, stop);
    tree->nodes[index].left = left;
    tree->nodes[index].right = right;
    return index;
}

tree_t *tree_build(const surface_t *surface, const metric_t *metric) {
    const int64_t count = collect(surface, NULL);
    tree_t *tree = calloc(1, sizeof *tree);
    if (tree == NULL) return NULL;
    tree->metric = *metric;
    tree->positions = malloc(sizeof(position_t) * (size_t)(count + 1));
    /* Every leaf holds more than LEAF / 2 positions (or is the root). */
    tree->nodes = malloc(sizeof(node_t) * (size_t)(2 * (count / (LEAF / 2)) + 3));
    if (tree->positions == NULL || tree->nodes == NULL) {
        tree_free(tree);
        return NULL;
    }
    collect(surface, tree->positions);
    add_node(tree, 0, count);
    return tree;
}

void tree_free(tree_t *tree) {
    if (tree == NULL) return;
    free(tree->positions);
    free(tree->nodes);
    free(tree);
}

/* Smallest squared distance from the point to a node's box: rounding is monotone, so it never exceeds a true one. */
INLINE double to_box(const tree_t *tree, const node_t *node, const int32_t point[3]) {
    int64_t step[3];
    for (int axis = 0; axis < 3; axis++) {
        const int64_t below = (int64_t)node->low[axis] - point[axis], above = (int64_t)point[axis] - node->high[axis];
        step[axis] = below > 0 ? below : above > 0 ? above : 0;
    }
    return squared_length(&tree->metric, step);
}

INLINE double to_position(const tree_t *tree, int64_t index, const int32_t point[3]) {
    const int32_t *at = tree->positions[index].at;
    const int64_t step[3] = {(int64_t)at[0] - point[0], (int64_t)at[1] - point[1], (int64_t)at[2] - point[2]};
    return squared_length(&tree->metric, step);
}

double tree_nearest(const tree_t *tree, const int32_t point[3], int64_t *hint) {
    struct {
        int64_t node;
        double least;
    } stack[DEPTH];
    int depth = 0;
    int64_t best_at = *hint < 0 ? 0 : *hint;
    double best = to_position(tree, best_at, point);
    stack[depth].node = 0;
    stack[depth++].least = to_box(tree, tree->nodes, point);
    while (depth) {
        depth--;
        if (stack[depth].least >= best) continue;
        const node_t *node = tree->nodes + stack[depth].node;
        if (!node->left) {
            for (int64_t i = node->start; i < node->stop; i++) {
                const double squared = to_position(tree, i, point);
                if (squared < best) {
                    best = squared;
                    best_at = i;
                }
            }
            continue;
        }
        const double left = to_box(tree, tree->nodes + node->left, point);
        const double right = to_box(tree, tree->nodes + node->right, point);
        const int left_first = left <= right;
        stack[depth].node = left_first ? node->right : node->left; /* the farther one is looked at later */
        stack[depth++].least = left_first ? right : left;
        stack[depth].node = left_first ? node->left : node->right;
        stack[depth++].least = left_first ? left : right;
    }
    *hint = best_at;
    return best;
}
