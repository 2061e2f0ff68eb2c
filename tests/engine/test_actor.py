"""What a worker on a cluster does with messages and files, without a cluster."""

from __future__ import annotations

import threading
import time

import pytest

from medeval.engine import actor
from medeval.engine.actor import Shipped, packed, portable
from medeval.engine.reading import Job
from medeval.engine.recorder import UnitResult
from medeval.engine.serving import Order
from medeval.runs.folder import RunFolder, UnitName
from medeval.runs.staging import files_of

UNIT = UnitName("task", "data", "model", "", 0, ("case",))


@pytest.fixture
def scratch(tmp_path):
    folder = RunFolder(tmp_path / "scratch")
    folder.create()
    return folder


@pytest.fixture
def boxes():
    return actor._Inbox(), actor._Outbox()


def test_messages_are_read_in_the_order_in_which_they_were_sent(boxes):
    inbox, _ = boxes
    for number in (2, 0):
        inbox.put(number, f"message {number}")
    assert inbox.get() == "message 0"
    assert not inbox.waiting()  # 2 is there, 1 is not
    inbox.put(1, "message 1")
    assert [inbox.get(), inbox.get()] == ["message 1", "message 2"]


def test_a_message_that_must_be_heard_holds_its_sender_until_the_run_asks_again(boxes):
    _, outbox = boxes
    sent = threading.Event()

    def send():
        outbox.put(("started", "unit"), heard=True)
        sent.set()

    threading.Thread(target=send, daemon=True).start()
    assert outbox.take() == [("started", "unit")]
    assert not sent.wait(0.05)  # it may still be on the way
    asking = threading.Thread(target=outbox.take, daemon=True)
    asking.start()
    assert sent.wait(5)
    outbox.put(("end", None), heard=False)
    asking.join(5)
    assert not asking.is_alive()


def test_a_result_takes_the_unit_s_files_along_and_leaves_nothing(boxes, scratch):
    inbox, outbox = boxes
    channel = actor._Channel(inbox, outbox, scratch)
    journal = f"journal/{UNIT.stem}-abc.jsonl"
    inbox.put(0, Shipped(Job(UNIT), {journal: b"{}\n"}))
    assert channel.receive() == Job(UNIT)
    assert (scratch.path / journal).read_bytes() == b"{}\n"  # steps that were finished before
    scratch.part("records", UNIT).write_bytes(b"rows")
    result = UnitResult(UNIT, "predict", 1, {}, (), 0.1)
    channel.send("done", result)
    assert outbox.take() == [("done", (result, {journal: b"{}\n", f"records/{UNIT.stem}.parquet": b"rows"}))]
    assert files_of(scratch, UNIT) == {}


def test_steps_of_an_open_unit_reach_the_run_before_it_is_finished(boxes, scratch, monkeypatch):
    monkeypatch.setattr(actor, "JOURNAL_EVERY", 0.01)
    inbox, outbox = boxes
    channel = actor._Channel(inbox, outbox, scratch)
    journal = f"journal/{UNIT.stem}-abc.jsonl"
    with channel.telling_steps():
        inbox.put(0, Shipped(Job(UNIT), {journal: b"one\n"}))
        channel.receive()
        time.sleep(0.05)  # what came from the run is not told to it
        (scratch.path / journal).write_bytes(b"one\ntwo\n")
        assert outbox.take() == [("files", (UNIT.id, {journal: b"one\ntwo\n"}))]


def test_an_order_finds_its_artifact_where_it_works(boxes, scratch, tmp_path):
    made = tmp_path / "0123abcd"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "weights.bin").write_bytes(b"w")
    inbox, outbox = boxes
    order = Order(0, str(made), {})
    inbox.put(0, Shipped(order, {"": packed(made)}))
    told = actor._Channel(inbox, outbox, scratch).receive()
    assert told.artifact == str(scratch.path / "artifacts" / "0123abcd")
    assert (scratch.path / "artifacts" / "0123abcd" / "deep" / "weights.bin").read_bytes() == b"w"


def test_an_error_says_on_which_machine(boxes, scratch, monkeypatch):
    monkeypatch.setattr(actor.socket, "gethostname", lambda: "node7")
    inbox, outbox = boxes
    actor._Channel(inbox, outbox, scratch).send("error", "data/: no such folder")
    assert outbox.take() == [("error", "a worker on node7: data/: no such folder")]


def test_keys_travel_and_what_a_machine_says_of_itself_does_not():
    mine = {"OPENAI_API_KEY": "k", "CALLS": "c", "HF_HOME": "h", "MEDEVAL_KERNELS": "python"}
    theirs = {
        "PATH": "", "HOME": "", "CUDA_VISIBLE_DEVICES": "", "RAY_ADDRESS": "", "SLURM_JOB_ID": "",
        "LD_LIBRARY_PATH": "", "PYTHONPATH": "", "OMP_NUM_THREADS": "", "TMPDIR": "",
    }  # fmt: skip
    assert portable(mine | theirs) == mine
