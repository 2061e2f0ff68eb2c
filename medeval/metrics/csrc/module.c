/* Python's side of the kernels. Arguments are checked in native.py; here only what would read past an array. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "kernels.h"

#include <stdlib.h>
#include <string.h>

/* A view of a 2D or 3D array of bytes; 0 when it is one that the kernels can walk. */
static int as_view(const Py_buffer *buffer, view_t *view) {
    const int ndim = buffer->ndim;
    if ((ndim != 2 && ndim != 3) || buffer->itemsize != 1 || buffer->strides[ndim - 1] != 1) {
        PyErr_SetString(PyExc_TypeError, "an array of bytes with a contiguous last axis is needed");
        return -1;
    }
    view->data = buffer->buf;
    view->shape[0] = ndim == 3 ? buffer->shape[0] : 1;
    view->stride[0] = ndim == 3 ? buffer->strides[0] : 0;
    view->shape[1] = buffer->shape[ndim - 2];
    view->stride[1] = buffer->strides[ndim - 2];
    view->shape[2] = buffer->shape[ndim - 1];
    return 0;
}

static int same_shape(const view_t *a, const view_t *b) {
    if (!memcmp(a->shape, b->shape, sizeof a->shape)) return 1;
    PyErr_SetString(PyExc_ValueError, "shapes differ");
    return 0;
}

static PyObject *py_scan(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer pred = {0}, ref = {0}, counts = {0}, boxes = {0};
    PyObject *of_pred, *of_ref, *of_counts, *of_boxes, *result = NULL;
    int size;
    if (!PyArg_ParseTuple(args, "OOiOO:scan", &of_pred, &of_ref, &size, &of_counts, &of_boxes)) return NULL;
    view_t p, r;
    if (PyObject_GetBuffer(of_pred, &pred, PyBUF_STRIDES) || PyObject_GetBuffer(of_ref, &ref, PyBUF_STRIDES) ||
        PyObject_GetBuffer(of_counts, &counts, PyBUF_WRITABLE) ||
        PyObject_GetBuffer(of_boxes, &boxes, PyBUF_WRITABLE))
        goto done;
    if (as_view(&pred, &p) || as_view(&ref, &r) || !same_shape(&p, &r)) goto done;
    if (size < 1 || size > 256 || counts.len < (Py_ssize_t)sizeof(int64_t) * size * size ||
        boxes.len < (Py_ssize_t)sizeof(int64_t) * 6 * size) {
        PyErr_SetString(PyExc_ValueError, "the results do not fit");
        goto done;
    }
    int wrong;
    Py_BEGIN_ALLOW_THREADS
    wrong = scan_maps(&p, &r, size, counts.buf, boxes.buf);
    Py_END_ALLOW_THREADS
    result = PyLong_FromLong(wrong);
done:
    PyBuffer_Release(&pred);
    PyBuffer_Release(&ref);
    PyBuffer_Release(&counts);
    PyBuffer_Release(&boxes);
    return result;
}

static PyObject *py_narrow(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer from = {0}, to = {0};
    PyObject *of_from, *of_to, *result = NULL;
    int floating;
    if (!PyArg_ParseTuple(args, "OOp:narrow", &of_from, &of_to, &floating)) return NULL;
    if (PyObject_GetBuffer(of_from, &from, PyBUF_ND) || PyObject_GetBuffer(of_to, &to, PyBUF_WRITABLE)) goto done;
    const Py_ssize_t size = from.itemsize;
    if (((size != 2 || floating) && size != 4 && size != 8) || to.len * size != from.len) {
        PyErr_SetString(PyExc_ValueError, "integers of 2, 4 or 8 bytes or floats of 4 or 8, and as many bytes are needed");
        goto done;
    }
    int64_t wrong;
    Py_BEGIN_ALLOW_THREADS
    wrong = narrow(from.buf, floating, (int)size, to.len, to.buf);
    Py_END_ALLOW_THREADS
    result = PyBool_FromLong(wrong < 0);
done:
    PyBuffer_Release(&from);
    PyBuffer_Release(&to);
    return result;
}

static PyObject *bytes_of(const double *values, int64_t count) {
    return PyBytes_FromStringAndSize((const char *)values, (Py_ssize_t)(count * (int64_t)sizeof(double)));
}

/* Surfaces of both crops and the distances between them, without Python. */
static int measure(const view_t maps[2], const uint8_t *values, int n_values, int surfel, int flat,
                   const double *weights, const neighbours_t *near, const metric_t *metric, table_t tables[2]) {
    surface_t surfaces[2];
    memset(surfaces, 0, sizeof surfaces);
    int64_t reach[3] = {0, 0, 0}, size = 1;
    for (int64_t t = 0; t < near->count; t++)
        for (int axis = 0; axis < 3; axis++) {
            const int32_t step = abs(near->offsets[3 * t + axis]);
            if (step > reach[axis]) reach[axis] = step;
        }
    int failed = 0;
    for (int way = 0; way < 2 && !failed; way++) {
        surface_t *surface = surfaces + way;
        size = 1;
        for (int axis = 0; axis < 3; axis++) {
            const int corners = surfel && !(flat && axis == 0);
            surface->margin[axis] = reach[axis];
            surface->shape[axis] = maps[way].shape[axis] + corners + 2 * reach[axis];
            size *= surface->shape[axis];
        }
        surface->codes = calloc((size_t)size + 8, 1);
        failed = surface->codes == NULL ||
                 (surfel ? surfel_surface : voxel_surface)(maps + way, values, n_values, flat, surface);
    }
    if (!failed) failed = surface_distances(surfaces, surfaces + 1, weights, near, metric, tables);
    free(surfaces[0].codes);
    free(surfaces[1].codes);
    return failed ? -1 : 0;
}

static PyObject *py_surfaces(PyObject *self, PyObject *args) {
    (void)self;
    Py_buffer pred = {0}, ref = {0}, weights = {0}, offsets = {0}, ranks = {0}, distances = {0};
    PyObject *objects[6], *result = NULL;
    const char *values;
    Py_ssize_t n_values;
    int surfel;
    metric_t metric;
    if (!PyArg_ParseTuple(args, "OOy#pOOOO(ddd)(iii):surfaces", objects, objects + 1, &values, &n_values, &surfel,
                          objects + 2, objects + 3, objects + 4, objects + 5, metric.spacing, metric.spacing + 1,
                          metric.spacing + 2, metric.order, metric.order + 1, metric.order + 2))
        return NULL;
    table_t tables[2];
    view_t maps[2];
    memset(tables, 0, sizeof tables);
    if (PyObject_GetBuffer(objects[0], &pred, PyBUF_STRIDES) || PyObject_GetBuffer(objects[1], &ref, PyBUF_STRIDES) ||
        PyObject_GetBuffer(objects[2], &weights, PyBUF_SIMPLE) ||
        PyObject_GetBuffer(objects[3], &offsets, PyBUF_SIMPLE) || PyObject_GetBuffer(objects[4], &ranks, PyBUF_SIMPLE) ||
        PyObject_GetBuffer(objects[5], &distances, PyBUF_SIMPLE))
        goto done;
    if (as_view(&pred, maps) || as_view(&ref, maps + 1) || !same_shape(maps, maps + 1)) goto done;
    const neighbours_t near = {ranks.len / 4, offsets.buf, ranks.buf, distances.len / 8, distances.buf};
    if (weights.len < 256 * 8 || offsets.len < 12 * near.count || near.count < 1 || n_values < 1) {
        PyErr_SetString(PyExc_ValueError, "a table is too short");
        goto done;
    }
    int failed;
    const int flat = pred.ndim == 2;
    Py_BEGIN_ALLOW_THREADS
    failed = measure(maps, (const uint8_t *)values, (int)n_values, surfel, flat, weights.buf, &near, &metric, tables);
    Py_END_ALLOW_THREADS
    if (failed)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("(NNNN)", bytes_of(tables[0].distances, tables[0].count),
                               bytes_of(tables[0].weights, tables[0].count),
                               bytes_of(tables[1].distances, tables[1].count),
                               bytes_of(tables[1].weights, tables[1].count));
done:
    for (int way = 0; way < 2; way++) {
        free(tables[way].distances);
        free(tables[way].weights);
    }
    PyBuffer_Release(&pred);
    PyBuffer_Release(&ref);
    PyBuffer_Release(&weights);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&ranks);
    PyBuffer_Release(&distances);
    return result;
}

static PyMethodDef methods[] = {
    {"scan", py_scan, METH_VARARGS, "Joint counts and boxes of two byte maps."},
    {"narrow", py_narrow, METH_VARARGS, "Labels as bytes; False when one does not fit."},
    {"surfaces", py_surfaces, METH_VARARGS, "Distances between the surfaces of two crops, both directions."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_kernels", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&definition); }
