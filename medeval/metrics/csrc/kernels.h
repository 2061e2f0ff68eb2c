/* Segmentation kernels: plain C, no Python. All arrays of masks and maps hold one byte a voxel. */
#ifndef MEDEVAL_KERNELS_H
#define MEDEVAL_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* One 3D byte array whose last axis is contiguous; a 2D array has shape[0] == 1. Strides in bytes. */
typedef struct {
    const uint8_t *data;
    int64_t shape[3];
    int64_t stride[2];
} view_t;

/* Functions are compiled again for wider vectors where the loader can choose (glibc on x86-64). */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define VECTORISED __attribute__((target_clones("avx2", "default")))
#else
#define VECTORISED
#endif

#if defined(_MSC_VER)
#define INLINE static __forceinline
#define RESTRICT __restrict
#else
#define INLINE static inline
#define RESTRICT restrict
#endif

/* scan.c: joint counts[size][size] of (prediction, reference) values, and for each value the smallest and largest
   index on each axis in either map: boxes[value][2][3], low > high where absent. Returns -1, or a value >= size. */
int scan_maps(const view_t *prediction, const view_t *reference, int size, int64_t *counts, int64_t *boxes);

/* narrow.c: n integers of 2, 4 or 8 bytes, or floats of 4 or 8, as bytes. Returns -1, or a position near the first that does not fit. */
int64_t narrow(const void *from, int floating, int itemsize, int64_t n, uint8_t *to);

/* A surface as bytes: 0 where there is none, else a code; with a margin of zeros on every side. */
typedef struct {
    uint8_t *codes;
    int64_t shape[3];  /* with margins */
    int64_t margin[3];
} surface_t;

/* codes.c: fills a zeroed surface. Surfels have one more position an axis than voxels. 0, or -1 without memory. */
int surfel_surface(const view_t *map, const uint8_t *values, int n_values, int flat, surface_t *surface);
int voxel_surface(const view_t *map, const uint8_t *values, int n_values, int flat, surface_t *surface);

/* Voxel offsets in order of distance; all that are nearer than the last are there. */
typedef struct {
    int64_t count;
    const int32_t *offsets;  /* (count, 3) */
    const int32_t *ranks;    /* (count,) index into distances */
    int64_t n_ranks;
    const double *distances;
} neighbours_t;

/* Distances from one surface to the other: (distance, weight), ascending. */
typedef struct {
    int64_t count;
    double *distances;
    double *weights;
} table_t;

/* How lengths are taken: squared steps summed in the order of the caller's axes, so that every path rounds alike. */
typedef struct {
    double spacing[3];
    int order[3];
} metric_t;

/* nearest.c: both directions at once. weights[code]. 0, or -1 without memory. */
int surface_distances(const surface_t *first, const surface_t *second, const double weights[256],
                      const neighbours_t *near, const metric_t *metric, table_t result[2]);

/* tree.c: nearest elements for the points that the neighbourhood search did not reach. */
typedef struct tree tree_t;
tree_t *tree_build(const surface_t *surface, const metric_t *metric);
void tree_free(tree_t *tree);
/* Squared distance of the nearest element. hint: index of an element that is likely near, updated; -1 for none. */
double tree_nearest(tree_t *tree, const int32_t position[3], int64_t *hint);
/* How many positions all searches have looked at; a node counts as two. */
int64_t tree_looked_at(const tree_t *tree);

/* sweep.c: the same for many points at once, given by their positions in the padded array (both surfaces lie alike). */
typedef struct sweep sweep_t;
sweep_t *sweep_plan(const surface_t *target, const metric_t *metric, const int64_t *at, int64_t count);
/* About how many additions it will cost; infinite where it would take much memory. */
double sweep_cost(const sweep_t *sweep, int64_t count);
/* squared[i] of at[i], as `tree_nearest` has it. 0, or -1 without memory. Once a plan. */
int sweep_run(sweep_t *sweep, const int64_t *at, int64_t count, double *squared);
void sweep_free(sweep_t *sweep);

#endif
