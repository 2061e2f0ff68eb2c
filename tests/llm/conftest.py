"""A server that misbehaves, a harness in a folder, and a way of running coroutines."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mock_server import MockServer

CLIENTS = "medeval.llm.clients"


@pytest.fixture
def server():
    with MockServer() as running:
        yield running


@pytest.fixture
def run():
    """Run one coroutine function in a fresh event loop, at most 30 s."""

    def runner(job):
        async def bounded():
            async with asyncio.timeout(30):
                return await job()

        return asyncio.run(bounded())

    return runner


@pytest.fixture
def openai_block(server):
    """A client block for the server: fast retries, no key."""
    pytest.importorskip("openai", reason="the SDK is in the llm extra")

    def block(model: str, **more):
        limits = {"backoff": 0.01, "max_backoff": 0.05, "timeout": 5.0, **more.pop("limits", {})}
        return {
            "client": f"{CLIENTS}.openai:OpenAIClient",
            "model": model,
            "base_url": server.url,
            "limits": limits,
            **more,
        }

    return block
