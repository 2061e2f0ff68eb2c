"""The process that a test kills: 6 dialogues of 5 turns, resumed from journal or cache.

python killed_dialogues.py FOLDER URL journal|cache
"""

import asyncio
import json
import sys
from functools import partial
from pathlib import Path

from medeval.llm import Harness, HarnessSettings
from medeval.runs.journal import FileJournal
from medeval.tasks.context import Context


async def main(folder: Path, url: str, keeps: str) -> None:
    settings = HarnessSettings(cache="read-write" if keeps == "cache" else "off")
    block = {
        "client": "medeval.llm.clients.openai:OpenAIClient",
        "model": "m",
        "base_url": url,
        "limits": {"start": 6},
    }
    async with Harness(settings, folder / "llm") as harness:
        chat = harness.chat(block)

        async def one(number: int) -> list[str]:
            journal = FileJournal(folder / "journal" / f"{number}.jsonl") if keeps == "journal" else None
            context = Context(journal=journal)
            messages = [{"role": "user", "content": f"case {number}"}]
            for turn in range(5):
                reply = await chat.step(context, f"turn {turn}", partial(chat.ask, messages))
                messages += [
                    {"role": "assistant", "content": reply.text},
                    {"role": "user", "content": f"and {turn}?"},
                ]
            return [m["content"] for m in messages if m["role"] == "assistant"]

        told = await asyncio.gather(*(one(i) for i in range(6)))
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
