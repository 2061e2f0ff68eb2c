/* A k-d tree over the positions of one surface, for exact nearest neighbours at any distance. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#define LEAF 16
#define DEPTH 128

typedef struct {
    int32_t at[3];
} position_t;

typedef struct {
    int32_t low[3], high[3];
    int64_t start, stop; /* its positions */
    int64_t left, right; /* its children; left is 0 for a leaf */
} node_t;

/* Positions are kept in the order in which squares are summed. */
struct tree {
    double spacing[3];
    int order[3];
    position_t *positions;
    node_t *nodes;
    int64_t n_nodes;
    int64_t looked_at; /* by all searches: positions, and nodes as two */
};

static int64_t collect(const surface_t *s, const int order[3], position_t *out) {
    int64_t count = 0;
    for (int64_t x = s->margin[0]; x < s->shape[0] - s->margin[0]; x++)
        for (int64_t y = s->margin[1]; y < s->shape[1] - s->margin[1]; y++) {
            const uint8_t *row = s->codes + (x * s->shape[1] + y) * s->shape[2];
            const int64_t end = s->shape[2] - s->margin[2];
            for (int64_t z = s->margin[2]; z < end; z++) {
                uint64_t eight;
                while (z + 8 <= end && (memcpy(&eight, row + z, 8), !eight)) z += 8;
                if (z >= end) break;
                if (!row[z]) continue;
                if (out != NULL) {
                    const int32_t at[3] = {(int32_t)x, (int32_t)y, (int32_t)z};
                    out[count] = (position_t){{at[order[0]], at[order[1]], at[order[2]]}};
                }
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
        if ((double)(high - low) * tree->spacing[axis] > extent) {
            extent = (double)(high - low) * tree->spacing[axis];
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
    const int64_t count = collect(surface, metric->order, NULL);
    tree_t *tree = calloc(1, sizeof *tree);
    if (tree == NULL) return NULL;
    for (int axis = 0; axis < 3; axis++) {
        tree->order[axis] = metric->order[axis];
        tree->spacing[axis] = metric->spacing[metric->order[axis]];
    }
    tree->positions = malloc(sizeof(position_t) * (size_t)(count + 1));
    /* Every leaf holds more than LEAF / 2 positions (or is the root). */
    tree->nodes = malloc(sizeof(node_t) * (size_t)(2 * (count / (LEAF / 2)) + 3));
    if (tree->positions == NULL || tree->nodes == NULL) {
        tree_free(tree);
        return NULL;
    }
    collect(surface, metric->order, tree->positions);
    add_node(tree, 0, count);
    return tree;
}

void tree_free(tree_t *tree) {
    if (tree == NULL) return;
    free(tree->positions);
    free(tree->nodes);
    free(tree);
}

INLINE double squared_length(const tree_t *tree, int32_t x, int32_t y, int32_t z) {
    const double a = x * tree->spacing[0], b = y * tree->spacing[1], c = z * tree->spacing[2];
    return (a * a + b * b) + c * c;
}

INLINE int32_t outside(int32_t low, int32_t high, int32_t at) {
    const int32_t below = low - at, above = at - high, most = below > above ? below : above;
    return most > 0 ? most : 0;
}

/* Smallest squared distance from the point to a node's box: rounding is monotone, so it never exceeds a true one. */
INLINE double to_box(const tree_t *tree, const node_t *node, const int32_t point[3]) {
    return squared_length(tree, outside(node->low[0], node->high[0], point[0]),
                          outside(node->low[1], node->high[1], point[1]),
                          outside(node->low[2], node->high[2], point[2]));
}

INLINE double to_position(const tree_t *tree, int64_t index, const int32_t point[3]) {
    const int32_t *at = tree->positions[index].at;
    return squared_length(tree, at[0] - point[0], at[1] - point[1], at[2] - point[2]);
}

int64_t tree_looked_at(const tree_t *tree) { return tree->looked_at; }

double tree_nearest(tree_t *tree, const int32_t position[3], int64_t *hint) {
    const int32_t point[3] = {position[tree->order[0]], position[tree->order[1]], position[tree->order[2]]};
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
            tree->looked_at += node->stop - node->start;
            for (int64_t i = node->start; i < node->stop; i++) {
                const double squared = to_position(tree, i, point);
                if (squared < best) {
                    best = squared;
                    best_at = i;
                }
            }
            continue;
        }
        tree->looked_at += 4;
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
