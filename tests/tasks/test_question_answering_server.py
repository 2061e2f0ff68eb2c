"""Questions and criteria over HTTP: the openai client against a local server, with pictures, token probabilities and a judge."""

import json
import re
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

import medeval
from medeval.api import RunOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "llm"))
from mock_server import MockServer, http, reply, status

pytest.importorskip("openai", reason="the SDK is in the llm extra")


JUDGED: list[int] = []  # requests to the judge that it answered


@pytest.fixture
def server():
    JUDGED.clear()
    with MockServer() as running:
        running.on("examinee", examinee)
        running.on("judge", judge)
        yield running


def text_of(message):
    content = message["content"]
    return content if isinstance(content, str) else content[0]["text"]


def examinee(call):
    """Unwell at its first request; then says the letter of "yes", with token probabilities, and counts pictures."""
    if call.number == 0:
        return status(429)
    asked = call.body["messages"][-1]
    found = re.search(r"^([A-J])\. yes$", text_of(asked), re.M)
    pictures = (
        0 if isinstance(asked["content"], str) else sum(p["type"] == "image_url" for p in asked["content"])
    )
    if not found:
        return reply(f"It is the pancreas. Pictures: {pictures}")
    token = {"token": found[1], "logprob": -0.25, "top_logprobs": [{"token": found[1], "logprob": -0.25}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": found[1]}, "finish_reason": "stop",
              "logprobs": {"content": [token]} if call.body.get("logprobs") else None}  # fmt: skip
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    return http(
        200,
        json.dumps(
            {"id": "1", "object": "chat.completion", "model": "examinee", "choices": [choice], "usage": usage}
        ).encode(),
    )


def judge(call):
    """Knows no schema, and answers in a fence."""
    if "response_format" in call.body or "tools" in call.body:
        return status(400, "response_format is not supported")
    JUDGED.append(call.number)
    shown = "\n".join(text_of(m) for m in call.body["messages"])
    if "criterion" in shown:
        return reply('```json\n{"explanation": "seen", "criteria_met": true}\n```')
    return reply('```json\n{"reason": "the same organ", "same": true}\n```')


def suite(folder, server, **task):
    def block(model, **more):
        return {
            "client": "openai",
            "model": model,
            "base_url": server.url,
            "limits": {"backoff": 0.01},
            **more,
        }

    rows = [
        {"id": "q1", "question": "Is it?", "options": ["yes", "no"], "answer": "A"},
        {"id": "q2", "question": "Which organ?", "answer": "pancreas", "image": "a.png"},
    ]
    Image.new("L", (4, 4)).save(folder / "a.png")
    (folder / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    talk = {
        "prompt": [{"role": "user", "content": "?"}],
        "rubrics": [{"criterion": "x", "points": 2}, {"criterion": "y", "points": -1}],
    }
    (folder / "hb.jsonl").write_text(json.dumps(talk))
    data = {
        "name": "served",
        "datasets": {
            "q": {"format": "questions", "file": "q.jsonl"},
            "hb": {"format": "healthbench", "file": "hb.jsonl"},
        },
        "models": {"m": block("examinee", extra_body={"logprobs": True})},
        "tasks": [
            {
                "task": "question-answering",
                "datasets": ["q"],
                "samples": 2,
                "shuffles": 2,
                "confidence": "logprobs",
                "judge": block("judge"),
            },
            {"task": "healthbench", "datasets": ["hb"], "judges": [block("judge")]},
        ],
        "llm": {"cache_file": "cache.sqlite"},
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(data))
    return folder / "suite.yaml"


def overall(done):
    return {r["metric"]: r["value"] for r in done.summary()["scores"] if r["by"] == ""}


def test_both_tasks_run_over_http_and_a_warm_cache_asks_nothing(tmp_path, server):
    path = suite(tmp_path, server)
    first = overall(medeval.run(path, tmp_path / "a", options=RunOptions(report=False)))
    assert first["answer_accuracy"] == 1
    assert first["answer_brier"] == pytest.approx(
        0
    )  # the only letter among the alternatives has all of the probability
    assert first["rubric"] == pytest.approx(0.5)
    # the examinee: one retry, 2 samples of 2 orders, 2 of the open question, which has one order, a conversation
    assert (server.calls["examinee"], len(JUDGED)) == (1 + 4 + 2 + 1, 1 + 2)
    again = overall(medeval.run(path, tmp_path / "b", options=RunOptions(report=False)))
    assert again == first
    assert (server.calls["examinee"], len(JUDGED)) == (8, 3)
