"""Whole runs with chat models as doctor, patient and judge, against a real server: money, keys, stops and kills."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from chat_suite import TURNS, MockServer, block, suite

pytest.importorskip("openai", reason="the SDK is in the llm extra")

from small_world import scores

import medeval
from medeval.engine.chats import RunStopped
from medeval.types import UserError

KEY = "sk-planted-0123456789abcdef"


@pytest.fixture
def server():
    with MockServer() as running:
        yield running


def calls(small, out="run"):
    lines = (small.folder / out / "llm" / "calls.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def paid(small, out="run"):
    return sum(call["paid"] for call in calls(small, out))


def test_a_client_block_is_the_doctor_and_others_are_patient_and_judge(small, server):
    run = small.run(suite(small, server))
    frame = run.records()
    assert set(frame["status"]) <= {"ok", "undefined"}
    assert set(frame["model"]) == {"gpt"}
    assert server.calls["doctor"] == 4 * 2 * TURNS
    assert {call["role"] for call in calls(small)} == {"doctor", "patient", "judge"}
    assert scores(run, metric="rubric", by="structure")
    before = dict(server.calls)
    small.run()
    assert dict(server.calls) == before


def test_a_repeated_suite_draws_replies_of_its_own(small, server):
    small.run(suite(small, server, cases=1, seeds=[0, 1]))
    assert server.calls["doctor"] == 2 * 2 * TURNS


def test_other_limits_are_the_same_run_and_another_temperature_is_not(small, server):
    small.run(suite(small, server, cases=1))
    before = dict(server.calls)
    task = {"patient": block(server, "patient", limits={"rpm": 600})}
    small.run(
        suite(small, server, cases=1, models={"gpt": block(server, "doctor", limits={"rpm": 600})}, task=task)
    )
    assert dict(server.calls) == before
    with pytest.raises(UserError, match=r"model\.sampling was \{\}, is \{'temperature': 0\.0\}"):
        small.run(suite(small, server, cases=1, models={"gpt": block(server, "doctor", temperature=0)}))


@pytest.mark.parametrize("limit", [{"budget": {"calls": 20}}, {"roles": {"judge": {"calls": 3}}}])
def test_a_spent_budget_stops_cleanly_and_nothing_is_paid_for_twice(small, server, limit):
    whole = small.run(suite(small, server), out="whole")
    needed = sum(server.calls.values())
    server.calls.clear()
    suite(small, server, llm=limit)
    stopped = small.cli("run", "suite.yaml", "-o", "run", "-q")
    assert stopped.returncode == 3, stopped.stderr
    assert "is spent" in stopped.stderr
    assert "the same command goes on from there" in stopped.stderr
    assert (small.folder / "run" / "summary.json").exists()
    run = small.run(suite(small, server, llm={"budget": {"calls": 1000}}))
    assert sum(server.calls.values()) == needed == paid(small)
    assert run.records().drop(columns="seed").equals(whole.records().drop(columns="seed"))


def test_a_budget_of_zero_asks_nothing(small, server):
    with pytest.raises(RunStopped, match=r"budget of 0 tokens is spent.*0 of 4 units are done"):
        small.run(suite(small, server, llm={"budget": {"tokens": 0}}))
    assert not server.calls


def test_an_unknown_model_stops_the_run_at_once(small, server):
    from mock_server import http

    path = suite(small, server, cases=20)
    body = json.dumps({"error": {"message": "The model `doctor` does not exist", "code": "model_not_found"}})
    server.on("doctor", lambda call: http(404, body.encode()))
    with pytest.raises(RunStopped, match=r"doctor at http.*no such model"):
        small.run(path)
    assert server.calls["judge"] == 0
    assert not list((small.folder / "run" / "records").glob("*.parquet"))


def test_a_missing_key_and_a_missing_price_are_told_before_any_case(small, server, monkeypatch, tmp_path):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(UserError, match=r"^models\.gpt: the environment variable NO_SUCH_KEY is not set"):
        small.run(suite(small, server, models={"gpt": block(server, "doctor", api_key_env="NO_SUCH_KEY")}))
    with pytest.raises(UserError, match=r"tasks\.mini-cex\.patient: the environment variable NO_SUCH_KEY"):
        small.run(suite(small, server, task={"patient": block(server, "patient", api_key_env="NO_SUCH_KEY")}))
    with pytest.raises(UserError, match=r"the doctor's model 'doctor' has no price"):
        small.run(suite(small, server, llm={"budget": {"cost": 1}}))
    assert not server.calls


def test_scoring_what_was_kept_needs_no_key_of_those_who_are_not_asked(small, server, monkeypatch):
    monkeypatch.setenv("DOCTOR_KEY", KEY)
    models = {"gpt": block(server, "doctor", api_key_env="DOCTOR_KEY")}
    task = {"patient": block(server, "patient", api_key_env="DOCTOR_KEY")}
    kept = small.run(suite(small, server, cases=1, models=models, task=task), score=False)
    asked = server.calls["doctor"]
    monkeypatch.delenv("DOCTOR_KEY")
    assert scores(medeval.score(kept.path), metric="rubric", by="structure")
    assert server.calls["judge"]
    assert server.calls["doctor"] == asked


def test_keys_reach_no_file_of_a_run(small, server, monkeypatch):
    from mock_server import http

    monkeypatch.setenv("PLANTED_KEY", KEY)
    named = {"api_key_env": "PLANTED_KEY"}
    path = suite(
        small, server, cases=2, models={"gpt": block(server, "doctor", **named, extra_body={"user": "${PLANTED_KEY}"})},
        task={"patient": block(server, "patient", **named), "judges": [block(server, "judge", **named)]},
    )  # fmt: skip
    server.on("judge", lambda call: http(500, f"bad key {call.headers['authorization']}".encode()))
    run = small.run(path, report=True)
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert "infrastructure" in set(run.records()["status"])
    files = [file for file in sorted(run.path.rglob("*")) if file.is_file()]
    assert len(files) > 10
    assert [file for file in files if KEY.encode() in file.read_bytes()] == []


@pytest.mark.slow  # four processes
def test_killed_dialogues_go_on_at_their_turn(small, server):
    small.run(suite(small, server, cases=6), out="unbroken")
    needed = sum(server.calls.values())
    server.calls.clear()
    in_flight = 0
    for kill in range(3):
        process = subprocess.Popen(
            small.command("run", "suite.yaml", "-o", "killed", "-q"),
            cwd=small.folder,
            env=small.environment(),
        )
        until = time.monotonic() + 100
        goal = sum(server.calls.values()) + 12
        while sum(server.calls.values()) < goal and process.poll() is None and time.monotonic() < until:
            time.sleep(0.002)
        os.kill(process.pid, signal.SIGKILL)
        in_flight += server.in_flight
        assert process.wait(60) == -signal.SIGKILL, f"kill {kill} came too late"
    assert small.cli("run", "suite.yaml", "-o", "killed", "-q").returncode == 0
    assert needed <= sum(server.calls.values()) <= needed + in_flight + 3 * 12
    assert small.parts("killed") == small.parts("unbroken")


def test_the_progress_line_tells_calls_and_tokens(small, server, capsys):
    import medeval
    from medeval.engine.progress import Plain

    medeval.run(suite(small, server, cases=1), Path("told"), progress=Plain(every=0.0))
    assert "answered" in capsys.readouterr().err


def test_ctrl_c_ends_dialogues_and_the_same_command_goes_on(small, server):
    suite(small, server, cases=6)
    process = subprocess.Popen(
        small.command("run", "suite.yaml", "-o", "run", "-q"), cwd=small.folder, env=small.environment(),
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until = time.monotonic() + 100
    while sum(server.calls.values()) < 12 and time.monotonic() < until:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "The same command goes on from there" in process.stderr.read()
    assert len(small.run().records()["case"].unique()) == 6


def test_a_dry_run_estimates_calls_tokens_and_money_and_sends_nothing(small, server):
    prices = {
        "doctor": {"input": 1000000, "output": 0},
        "patient": {"input": 0, "output": 0},
        "judge": {"input": 0, "output": 1000000},
    }
    (small.folder / "prices.yaml").write_text(json.dumps({"currency": "EUR", "models": prices}))
    suite(small, server, llm={"prices": "prices.yaml"})
    told = small.cli("run", "suite.yaml", "--dry-run")
    assert told.returncode == 0
    rows = {
        line.split()[0]: line.split()
        for line in told.stdout.splitlines()
        if line.startswith(("doctor", "patient", "judge"))
    }
    assert int(rows["doctor"][2].replace(",", "")) == 4 * 2 * TURNS
    assert int(rows["patient"][2].replace(",", "")) == 4 * 2 * (TURNS - 1)
    tokens = int(rows["doctor"][3].replace(",", ""))
    assert float(rows["doctor"][5].replace(",", "")) == pytest.approx(tokens)
    assert "Together at most" in told.stdout
    assert not server.calls
    assert not (small.folder / "runs").exists()


def test_a_limit_of_a_role_that_nobody_has_is_told(small, server):
    suite(small, server, llm={"roles": {"jugde": {"calls": 3}, "patient": {"calls": 99}}})
    told = small.cli("run", "suite.yaml", "--dry-run").stdout
    assert "llm.roles.jugde: no call of this suite is known to be made in this role" in told
    assert "did you mean 'judge'?" in told
    assert "llm.roles.patient" not in told


def test_a_dialogue_over_its_own_budget_ends_alone(small, server):
    run = small.run(suite(small, server, cases=2, llm={"dialogue": {"calls": 3}}))
    frame = run.records()
    assert set(frame["status"]) == {"budget"}
    assert {call["dialogue"] for call in calls(small) if call["role"] == "doctor"} == {
        "c0/0",
        "c0/1",
        "c1/0",
        "c1/1",
    }
    told = small.cli("run", "suite.yaml", "-o", "run", "-q")
    assert told.returncode == 1
