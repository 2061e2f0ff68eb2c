"""Suites whose doctor, patient and judge are chat models behind a mock server."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "llm"))
from mock_server import MockServer, reply

CASE = {
    "demographics": "20-year-old man",
    "chief_complaint": "My throat hurts.",
    "facts": {"present": ["It began on Monday.", "Swallowing makes it worse."], "negative": ["No cough."]},
    "diagnosis": {"name": "Streptococcal pharyngitis", "also": ["Strep throat"]},
}
TURNS = 3


def words(messages: list[dict[str, Any]]) -> str:
    """Text that depends on the conversation alone."""
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()[:8]


def doctor(call: Any) -> Any:
    """Asks until it is told to conclude; its turns are counted by its own messages."""
    said = sum(message["role"] == "assistant" for message in call.body["messages"])
    text = f"When did it begin ({words(call.body['messages'])})?"
    last = said >= TURNS - 1
    return reply(
        "Final diagnosis:\n1. Strep throat\n2. Influenza\n3. Tonsillitis" if last else text, delay=0.02
    )


def patient(call: Any) -> Any:
    """Says one fact of the case."""
    return reply("It began on Monday.", delay=0.02)


def judge(call: Any) -> Any:
    """The middle of each asked item's values, in the asked form."""
    rules = call.body["messages"][-1]["content"]
    items = [json.loads(line) for line in rules.splitlines() if re.match(r'\{"item"', line)]
    verdicts = []
    for item in items:
        values = sorted(int(value) for value in item["values"])
        verdicts.append(
            {"item": item["item"], "evidence": [], "applicable": True, "score": values[len(values) // 2]}
        )
    return reply(json.dumps({"verdicts": verdicts}), delay=0.02)


def serve(server: MockServer) -> None:
    """The three roles by name of model."""
    for name, handler in {"doctor": doctor, "patient": patient, "judge": judge}.items():
        server.on(name, handler)


def block(server: MockServer, model: str, **more: Any) -> dict[str, Any]:
    """A client block."""
    limits = {"backoff": 0.01, "max_backoff": 0.05, **more.pop("limits", {})}
    return {"client": "openai", "model": model, "base_url": server.url, "limits": limits, **more}


def suite(small: Any, server: MockServer, cases: int = 4, **changes: Any) -> Path:
    """mini-cex with a chat model in every role, in the folder of ``small``."""
    serve(server)
    lines = [
        json.dumps({"id": f"c{n}", **CASE, "chief_complaint": f"My throat has hurt for {n + 2} days."})
        for n in range(cases)
    ]
    (small.folder / "cases.jsonl").write_text("\n".join(lines))
    task = {
        "task": "mini-cex", "samples": 2, "max_turns": TURNS, "patient": block(server, "patient"),
        "judges": ["rules", block(server, "judge")], **changes.pop("task", {}),
    }  # fmt: skip
    parts = {
        "datasets": {"cases": {"format": "patient-cases", "file": "cases.jsonl"}},
        "models": {"gpt": block(server, "doctor")},
        "tasks": [task],
    }
    return small.suite(**{**parts, **changes})
