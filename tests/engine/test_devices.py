"""``--devices``: each worker has its device, the suite's own word wins, and nothing of it is in the records."""

from __future__ import annotations

import os
import sys
from types import ModuleType, SimpleNamespace

import pytest

from medeval.engine.devices import assigned, check_devices, disagreements, parse_devices
from medeval.engine.options import RunOptions
from medeval.plugins.devices import ASSIGNED, assigned_device
from medeval.types import PluginError, UserError

# Notes the device that it was given and its process, beside what the small world's model does.
PLACED = """
import os
from model import Model
from medeval.plugins.devices import assigned_device

class Placed(Model):
    def __init__(self, tolerance: float = 30.0, device: str = "auto") -> None:
        super().__init__(tolerance)
        with open("placed.txt", "a") as file:
            file.write(f"{assigned_device() if device == 'auto' else device} {os.getpid()}\\n")
"""


@pytest.fixture
def placed(small):
    """The small world with a model that notes where it was built."""
    (small.folder / "placed.py").write_text(PLACED)
    small.suite(models={"mine": {"adapter": "placed.py:Placed"}})
    return small


def built_on(small):
    return [line.split() for line in (small.folder / "placed.txt").read_text().splitlines()]


class FakeCuda:
    """``torch.cuda`` of a machine with two GPUs."""

    def __init__(self) -> None:
        self.now = 0

    def is_available(self):
        return True

    def device_count(self):
        return 2

    def set_device(self, name):
        self.now = int(name.partition(":")[2])


@pytest.fixture
def two_gpus(monkeypatch):
    torch = ModuleType("torch")
    torch.cuda = FakeCuda()
    monkeypatch.setitem(sys.modules, "torch", torch)
    return torch.cuda


def test_workers_take_the_devices_in_turn_and_records_are_those_of_any_run(placed):
    placed.run(out="plain")
    (placed.folder / "placed.txt").unlink()
    placed.run(out="two", devices=("cpu", "cpu"))
    assert {device for device, _ in built_on(placed)} == {"cpu"}
    assert str(os.getpid()) not in {process for _, process in built_on(placed)}
    assert placed.parts("two") == placed.parts("plain")


def test_a_single_device_is_this_process_s_own_and_only_while_the_run_lasts(placed):
    placed.run(devices=("cpu",))
    assert built_on(placed) == [["cpu", str(os.getpid())]]
    assert assigned_device() is None


def test_worker_i_has_device_i_modulo_their_number_and_a_replacement_its_predecessor_s(placed, monkeypatch):
    from medeval.engine.processes import ProcessPool
    from medeval.engine.shifts import Death, Line

    class Quiet(Line):
        send = receive = kill = lambda self, *_: None

        def end(self):
            return Death()

    given = []

    def hire(pool, number):
        given.append(pool.device(number))
        return Quiet(number)

    monkeypatch.setattr(ProcessPool, "hire", hire)
    plan = SimpleNamespace(suite=SimpleNamespace(resolved=dict, base="."), shard=None, facts=None)
    from medeval.engine.worker import Settings

    pool = ProcessPool(plan, None, Settings(), 5, ("cuda:0", "cuda:1"))
    seats = [pool.seat() for _ in range(5)]
    assert given == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    pool.dismiss(seats[3].line)
    pool.dismiss(seats[0].line)
    pool.seat(), pool.seat()
    assert given[5:] == ["cuda:0", "cuda:1"]


def test_a_device_that_the_suite_names_wins_and_the_user_is_told(placed):
    placed.suite(models={"mine": {"adapter": "placed.py:Placed", "device": "cpu"}})
    done = placed.cli("run", "suite.yaml", "-o", "run", "--no-report", "--devices", "cpu,cpu")
    assert done.returncode == 0
    assert "wins over" not in done.stderr  # they agree
    suite = SimpleNamespace(
        model_specs={
            name: SimpleNamespace(options=options)
            for name, options in {
                "bound": {"device": "cuda:3"},
                "any gpu": {"device": "cuda"},
                "auto": {"device": "auto"},
                "none": {},
            }.items()
        }
    )
    assert disagreements(suite, ("cuda:0", "cuda:1")) == [
        "model 'bound': device: cuda:3 stands in the suite and wins over --devices cuda:0,cuda:1"
    ]
    assert disagreements(suite, ()) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gpu0", "expected names such as cuda:0,cuda:1 or cpu, got 'gpu0'"),
        ("cuda:0,,cuda:1", "got ''"),
        ("cuda:x", "got 'cuda:x'"),
        ("auto", "got 'auto'"),
    ],
)
def test_a_wrong_name_is_told_before_work_starts(small, text, told):
    small.suite()
    done = small.cli("run", "suite.yaml", "-o", "run", "--devices", text)
    assert done.returncode == 2
    assert told in done.stderr
    assert small.calls() == []
    assert not (small.folder / "run").exists()


def test_a_gpu_that_is_not_there_is_told(two_gpus):
    check_devices(("cuda:0", "cuda:1", "cpu", "cuda"))
    with pytest.raises(UserError, match="cuda:2 is not there; there are cuda:0 to cuda:1"):
        check_devices(("cuda:0", "cuda:2"))


def test_a_gpu_without_pytorch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    check_devices(("cpu",))
    with pytest.raises(UserError, match=r"pip install 'medeval-bench\[torch\]'"):
        check_devices(("cuda:0",))


def test_devices_are_for_the_local_engine_alone():
    assert parse_devices(" cuda:0, cuda:1 ") == ("cuda:0", "cuda:1")
    assert parse_devices("") == ()
    assert RunOptions(devices=("cpu", "cpu")).processes == 2
    assert RunOptions(devices=("cpu", "cpu"), workers=3).processes == 3
    with pytest.raises(UserError, match="--devices is for --engine local"):
        RunOptions(engine="ray", devices=("cpu",))


def test_an_assigned_device_that_is_none_is_told(monkeypatch):
    monkeypatch.setenv(ASSIGNED, "gpu")
    with pytest.raises(PluginError, match="MEDEVAL_DEVICE='gpu': expected cpu, cuda or cuda:N"):
        assigned_device()


def test_first_party_adapters_take_the_assigned_device_where_they_say_auto(monkeypatch):
    pytest.importorskip("torch")
    from medeval_adapters.torch_common import pick_device

    with assigned("cpu"):
        assert pick_device("auto").type == "cpu"
    monkeypatch.setenv(ASSIGNED, "cuda:7")
    with pytest.raises(PluginError, match="device: 'cuda:7' was asked for"):
        pick_device("auto")
    assert pick_device("cpu").type == "cpu"


def test_a_worker_s_gpu_becomes_pytorch_s_current_one(two_gpus, monkeypatch):
    from medeval.engine.devices import settle

    monkeypatch.setenv(ASSIGNED, "cuda:1")
    settle()
    assert two_gpus.now == 1
    monkeypatch.setenv(ASSIGNED, "cpu")
    settle()
    assert two_gpus.now == 1
