"""One thread and one seed a test: in what order a gradient is added up decides its last bits, and networks begin at random."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def one_thread_and_seed(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests that compare bits, or steps of Adam from gradients near 0, must add in one order and begin alike."""
    if not request.path.name.startswith(("test_adaptation", "test_upl")):
        yield
        return
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)
