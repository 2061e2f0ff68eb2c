"""Both paths of the kernels, and small masks."""

from __future__ import annotations

import numpy as np
import pytest

from medeval.metrics import kernels

COMPILED = kernels.path() == "c"


@pytest.fixture(autouse=True)
def path_put_back():
    """A test that chooses a path chooses it for itself alone."""
    before = kernels.path()
    yield
    kernels.use(before)


@pytest.fixture(params=["c", "python"])
def kernel_path(request):
    """The test runs once by each path of the kernels."""
    try:
        kernels.use(request.param)
    except ImportError:
        pytest.skip("the C extension is not built")
    return request.param


@pytest.fixture
def blobs():
    """(prediction, reference): two smooth 3D label maps with labels 0 to 3."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.normal(size=(24, 30, 20)), 3)
    other = field + 0.3 * gaussian_filter(rng.normal(size=field.shape), 3)
    steps = np.quantile(field, [0.5, 0.75, 0.9])
    return np.digitize(other, steps).astype(np.uint8), np.digitize(field, steps).astype(np.uint8)
