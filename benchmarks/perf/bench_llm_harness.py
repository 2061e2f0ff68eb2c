"""Chat calls against a mock server that takes 200 ms a reply: the whole harness beside a bare loop over the SDK.

    python benchmarks/perf/bench_llm_harness.py [--inspect PYTHON] [--repeats 3]

The server is a process of its own (``tests/llm/mock_server.py``). A dialogue is 8 turns, each sending all turns before it;
64 dialogues run at once. Ideal = dialogues / 64 x 8 x 0.2 s. Shares are of the ideal, in the same process, one after the
other, the best of the repeats; CPU is this process's own per call. ``--inspect`` names the Python of an environment that has
inspect_ai, which then runs the same dialogues.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DELAY, TURNS, OPEN = 0.2, 8, 64
QUESTION = "Where exactly is the pain, since when, and does anything make it better or worse? "
Ask = Callable[[list[dict[str, str]]], Awaitable[str]]


async def dialogue(ask: Ask, name: str) -> None:
    """Eight turns; each sends the whole history."""
    messages = [
        {
            "role": "system",
            "content": f"You are a physician. Case {name}. Take the history, one question at a time.",
        }
    ]
    for turn in range(TURNS):
        messages.append({"role": "user", "content": f"{QUESTION}({name}, turn {turn})"})
        messages.append({"role": "assistant", "content": await ask(messages)})


async def dialogues(ask: Ask, count: int) -> None:
    """``count`` dialogues, 64 at once."""
    slots = asyncio.Semaphore(OPEN)

    async def one(number: int) -> None:
        async with slots:
            await dialogue(ask, f"c{number}")

    await asyncio.gather(*(one(i) for i in range(count)))


async def bare_sdk(url: str, count: int) -> None:
    """The official SDK's asynchronous client as its documentation shows it."""
    import openai

    async with openai.AsyncOpenAI(base_url=url, api_key="EMPTY", max_retries=0) as client:

        async def ask(messages: list[dict[str, str]]) -> str:
            reply = await client.chat.completions.create(model="bench", messages=messages)  # type: ignore[arg-type]
            return reply.choices[0].message.content or ""

        await dialogues(ask, count)


async def bare_aiohttp(url: str, count: int) -> None:
    """The least that Python can do: JSON posted by aiohttp, nothing kept."""
    import aiohttp

    async with aiohttp.ClientSession() as session:

        async def ask(messages: list[dict[str, str]]) -> str:
            sent = {"model": "bench", "messages": messages}
            async with session.post(f"{url}/chat/completions", json=sent) as reply:
                return (await reply.json())["choices"][0]["message"]["content"]

        await dialogues(ask, count)


async def whole_harness(url: str, count: int, folder: Path) -> None:
    """Cache, budget, limiter, retries, logs, and the task's journal."""
    from medeval.llm import Harness, HarnessSettings, Limit
    from medeval.runs.journal import FileJournal
    from medeval.tasks.context import Context

    settings = HarnessSettings(budget=Limit(tokens=10**9))
    block = {
        "client": "medeval.llm.clients.openai:OpenAIClient", "model": "bench", "base_url": url, "max_tokens": 200,
        "limits": {"connections": OPEN, "start": OPEN},
    }  # fmt: skip
    journals = []
    async with Harness(settings, folder) as harness:
        chat = harness.chat(block)
        slots = asyncio.Semaphore(OPEN)

        async def one(number: int) -> None:
            async with slots:
                name = f"c{number}"
                journals.append(FileJournal(folder / "journal" / f"{name}.jsonl"))
                context, scoped = Context(journal=journals[-1]), chat.within(harness.scope(name))

                async def ask(messages: list[dict[str, str]]) -> str:
                    step = f"{name}/{len(messages)}"
                    return (await scoped.step(context, step, lambda: scoped.ask(messages))).text

                await dialogue(ask, name)

        await asyncio.gather(*(one(i) for i in range(count)))
    for journal in journals:
        journal.close()


def replay_rate(folder: Path, url: str, count: int) -> float:
    """Calls a second from the warm cache (no journal: a new run), server untouched."""
    from medeval.llm import Harness, HarnessSettings

    block = {
        "client": "medeval.llm.clients.openai:OpenAIClient",
        "model": "bench",
        "base_url": url,
        "max_tokens": 200,
    }

    async def run() -> None:
        async with Harness(HarnessSettings(cache_file=folder / "cache.sqlite"), folder / "again") as harness:
            chat = harness.chat(block)

            async def ask(messages: list[dict[str, str]]) -> str:
                return (await chat.ask(messages)).text

            await dialogues(ask, count)

    begin = time.perf_counter()
    asyncio.run(run())
    return count * TURNS / (time.perf_counter() - begin)


INSPECT = """
import sys, time
from inspect_ai import Task, eval
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageSystem, ChatMessageUser, GenerateConfig, get_model
from inspect_ai.solver import solver
url, count, turns, limit, logs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
question = sys.argv[6]

@solver
def talk():
    async def solve(state, generate):
        name = state.sample_id
        state.messages = [ChatMessageSystem(content=f"You are a physician. Case {name}. Take the history, one question at a time.")]
        for turn in range(turns):
            state.messages.append(ChatMessageUser(content=f"{question}({name}, turn {turn})"))
            state = await generate(state)
        return state
    return solve

model = get_model("openai/bench", base_url=url, api_key="EMPTY", config=GenerateConfig(max_connections=limit, max_tokens=200), responses_api=False)
task = Task(dataset=[Sample(input="x", id=f"c{i}") for i in range(count)], solver=talk())
begin = time.perf_counter()
logs = eval(task, model=model, display="none", log_dir=logs, max_samples=limit)
seconds = time.perf_counter() - begin
assert logs[0].status == "success", logs[0].error
print("seconds", seconds)
"""


def inspect_seconds(python: str, url: str, count: int) -> float:
    """The same dialogues through Inspect AI, its start-up left out."""
    with tempfile.TemporaryDirectory() as logs:
        words = [python, "-c", INSPECT, url, str(count), str(TURNS), str(OPEN), logs, QUESTION]
        done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"inspect_ai failed:\n{done.stderr[-2000:]}")
    return float(done.stdout.split("seconds")[-1])


def timed(run: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """(wall, CPU) seconds of a coroutine in a loop of its own."""
    begin, cpu = time.perf_counter(), time.process_time()
    asyncio.run(run())  # type: ignore[arg-type]
    return time.perf_counter() - begin, time.process_time() - cpu


def calls(url: str) -> int:
    """Requests that the server has counted."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/stats", timeout=10) as answer:
        return sum(json.load(answer)["calls"].values())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--inspect", help="Python of an environment that has inspect_ai")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=[64, 256])
    options = parser.parse_args()
    import openai

    print(f"openai {openai.__version__}, Python {sys.version.split()[0]}")
    command = [sys.executable, str(ROOT / "tests" / "llm" / "mock_server.py"), "--delay", str(DELAY)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        try:
            for count in options.counts:
                measure(url, count, options)
        finally:
            server.terminate()


def measure(url: str, count: int, options: argparse.Namespace) -> None:
    """One size."""
    ideal, total = count / OPEN * TURNS * DELAY, count * TURNS
    best: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(options.repeats):
            here = Path(folder) / str(repeat)
            for name, run in {
                "bare SDK loop": lambda: bare_sdk(url, count),
                "bare aiohttp loop": lambda: bare_aiohttp(url, count),
                "medeval, whole harness": lambda here=here: whole_harness(url, count, here),
            }.items():
                before = calls(url)
                found = timed(run)
                assert calls(url) - before == total, "not every call was sent once"
                best[name] = min(best.get(name, found), found)
        if options.inspect:
            best["inspect_ai"] = inspect_seconds(options.inspect, url, count), float("nan")
        rate = max(replay_rate(Path(folder) / str(r), url, count) for r in range(options.repeats))
    print(f"\n{count} dialogues x {TURNS} turns, {OPEN} at once, {DELAY:g} s a reply: ideal {ideal:.2f} s")
    for name, (wall, cpu) in best.items():
        print(
            f"  {name:24} {wall:6.2f} s  {ideal / wall:5.0%} of the ideal  {1000 * cpu / total:5.2f} ms CPU a call"
        )
    print(f"  {'replay, warm cache':24} {rate:6.0f} calls/s")


if __name__ == "__main__":
    main()
