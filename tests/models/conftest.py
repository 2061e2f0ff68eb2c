"""One thread a test: how many threads add up a gradient decides its last bits, and under load PyTorch changes their number."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that compare bits, or steps of Adam from gradients near 0, must add in one order."""
    if not request.path.name.startswith(("test_adaptation", "test_upl")):
        yield
        return
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
