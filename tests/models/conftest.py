"""The adaptation methods train networks: minutes, so they belong to the long suite."""

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name.startswith("test_adaptation_"):
            item.add_marker(pytest.mark.slow)
