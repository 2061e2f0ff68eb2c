"""``--engine ray``: the same cells and units on a cluster, the same bytes, also when a worker dies.

One cluster of this machine serves all tests of the file; its actors are real processes.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
import yaml

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'medeval-bench[ray]'")

HOUSE = str(Path(__file__).with_name("house.py"))
MORTAL = """
import os, re, signal
from pathlib import Path
from model import Model

class Mortal(Model):
    '''Dies or hangs at one case: once, or each time.'''
    def __init__(self, does: str = "", at: int = -1, dies: str = "", times: int = 1) -> None:
        super().__init__(does=does, at=at)
        self.dies, self.times = dies, times
        if dies == "when built":
            os.kill(os.getpid(), signal.SIGKILL)
    def encode(self, image):
        encoded = super().encode(image)
        died = Path("died.txt").read_text() if Path("died.txt").exists() else ""
        if self.dies and self.case == self.at and len(died) < self.times:
            Path("died.txt").write_text(died + "x")
            if self.dies == "is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            re.match("(a+)+$", 64 * "a" + "b")  # hangs, and lets no other thread of the process do anything
        return encoded
"""


@pytest.fixture(scope="module")
def cluster():
    """Two CPUs, no GPU, a small object store."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        address="local", num_cpus=2, num_gpus=0, object_store_memory=80 * 2**20, include_dashboard=False,
        logging_level=logging.ERROR, log_to_driver=False,
    )  # fmt: skip
    yield
    ray.shutdown()


@pytest.fixture
def world(small, cluster):
    """The small world with a model that may die."""
    (small.folder / "mortal.py").write_text(MORTAL)
    return small


def mortal(**options):
    return {"adapter": "mortal.py:Mortal", **options}


def on_ray(small, out="ray", **options):
    return small.run(out=out, engine="ray", **{"workers": 2, **options})


def everything(small, out):
    """Records, summary and kept predictions as bytes; which journals are left."""
    folder = small.folder / out
    predictions = {path.name: path.read_bytes() for path in (folder / "predictions").iterdir()}
    journals = sorted(path.name for path in (folder / "journal").iterdir())
    return small.parts(out), predictions, journals


def done_once(small, out="ray"):
    """Every unit's result was told once."""
    cases = [
        (e["task"], e["model"], e["dataset"], *e["cases"]) for e in small.log(out) if e["event"] == "unit"
    ]
    return len(cases) == len(set(cases))


def test_a_run_on_two_workers_is_byte_for_byte_a_local_one_and_builds_a_model_once_a_worker(world):
    models = {"mine": mortal(), "other": world.model(tolerance=20.0)}
    datasets = {"pics": world.pictures(), "more": world.pictures("more", cases=4, seed=1)}
    world.suite(
        datasets=datasets, models=models, tasks=[world.task(), world.task(name="few", prompts=["box"])]
    )
    world.run(out="local")
    begun = len(world.calls())
    on_ray(world)
    assert everything(world, "ray") == everything(world, "local")
    assert done_once(world)
    built = world.calls()[begun:].count("build")
    assert 2 <= built <= 4  # two models, two workers, four cells each


def test_a_worker_that_is_killed_changes_nothing(world):
    """Mortal's process gets SIGKILL in the middle of a unit; another worker does its units again."""
    world.suite(models={"mine": mortal(at=3)})
    world.run(out="local")
    world.suite(models={"mine": mortal(at=3, dies="is killed")})
    run = on_ray(world)
    assert (world.folder / "died.txt").read_text() == "x"
    assert world.calls().count("encode 3") == 3  # locally, in the worker that died, in the one after it
    assert set(run.records()["status"]) <= {"ok", "carried", "undefined"}
    same(world, "ray", "local")
    assert done_once(world)


def same(small, out, other):
    """The same records but for what names the model's options."""
    import medeval

    one, two = (medeval.Run.open(small.folder / name).records() for name in (out, other))
    assert one.equals(two)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_same_unit_twice_fails_that_unit_alone(world):
    world.suite(models={"mine": mortal(at=2, dies="is killed", times=9)})
    run = on_ray(world)
    bad = run.records().query("case == 'p2-c02'")
    assert set(bad["status"]) == {"infrastructure"}
    assert set(bad["error"]) == {"the worker process died while predicting, twice"}
    assert set(run.records().query("case != 'p2-c02'")["status"]) <= {"ok", "carried", "undefined"}


@pytest.mark.slow
def test_a_model_that_hangs_with_the_interpreter_in_its_hand_is_the_timeout_that_it_is_locally(world):
    """No other thread of such a process can say that the model is at work, so that must have been heard before."""
    world.suite(models={"mine": mortal(at=2, dies="hangs", times=9, timeout=1.0)})
    world.run(out="local", workers=2)
    (world.folder / "died.txt").unlink()
    run = on_ray(world)
    bad = run.records().query("case == 'p2-c02'")
    assert set(bad["status"]) == {"timeout"}
    assert set(bad["error"]) == {"no answer within 1 s"}
    assert world.parts("ray") == world.parts("local")


@pytest.mark.slow
def test_a_model_that_cannot_be_built_loses_nothing_of_the_others(world):
    from medeval.types import RunError

    world.suite(models={"bad": world.model(does="not built"), "mine": world.model()})
    for out, options in {"local": {"workers": 2}, "ray": {"engine": "ray", "workers": 2}}.items():
        with pytest.raises(RunError, match="model 'bad': Model cannot be built: ValueError: no weights here"):
            world.run(out=out, **options)
    assert world.parts("ray") == world.parts("local")


@pytest.mark.slow
def test_a_model_that_dies_as_it_is_built_is_given_up_at_the_second_time(world):
    from medeval.types import RunError

    world.suite(models={"bad": mortal(dies="when built")})
    with pytest.raises(RunError, match="model 'bad': the worker process died before the model was there"):
        on_ray(world, workers=1)
    assert world.calls() == ["build", "build"]


@pytest.mark.slow
def test_the_first_failure_stops_a_run_that_asks_for_it_and_it_goes_on_locally(world):
    from medeval.engine.run import FailFast

    world.suite(models={"mine": world.model(does="raises", at=2)})
    with pytest.raises(FailFast, match="boom"):
        on_ray(world, fail_fast=True)
    on_ray(world, out="whole")
    world.run(out="ray")  # the engine is no part of a run
    assert world.parts("ray") == world.parts("whole")
    assert not list((world.folder / "ray").rglob(".tmp-*"))


@pytest.mark.slow
def test_a_run_of_one_engine_goes_on_in_the_other(world):
    world.suite(datasets={"pics": world.pictures(cases=3)})
    world.run(out="ray")
    world.suite(datasets={"pics": world.pictures(cases=6)})
    begun = len(world.calls())
    on_ray(world)
    assert world.calls()[begun:].count("encode 0") == 0
    world.run(out="local")
    assert world.parts("ray") == world.parts("local")


def write_house(small, tasks, models):
    rows = [
        f'{{"id": "c{i}", "patient": "p{i}", "site": "s", "number": {i}, "label": {i % 2}}}' for i in range(6)
    ]
    (small.folder / "numbers.jsonl").write_text("\n".join(rows))
    numbers = {"format": f"{HOUSE}:Numbers", "file": "numbers.jsonl"}
    data = {"name": "house", "datasets": {"here": numbers}, "models": models, "tasks": tasks}
    (small.folder / "suite.yaml").write_text(yaml.safe_dump(data))


@pytest.mark.slow
def test_what_a_task_prepared_travels_to_the_workers(world):
    task = {"task": f"{HOUSE}:Adapted", "source": "here"}
    write_house(world, [task], {"net": {"adapter": f"{HOUSE}:Screener"}})
    world.run(out="local")
    on_ray(world)
    assert world.parts("ray") == world.parts("local")


@pytest.mark.slow
def test_dialogues_and_judges_are_asked_from_the_run_itself(world):
    (world.folder / "judged.py").write_text(
        f"import os\nfrom medeval.plugins import resolve\n"
        f"Screening = resolve('medeval.tasks', {HOUSE + ':Screening'!r})\n"
        f"Screener = resolve('medeval.adapters', {HOUSE + ':Screener'!r})\n"
        "class Judged(Screening):\n    task: str = 'judged'\n"
        "    async def score(self, case, output, context):\n"
        "        open('judged.txt', 'a').write(f'{os.getpid()}\\n')\n"
        "        return super().score(case, output, context)\n"
        "class Asked(Screener):\n"
        "    def score_of(self, number: int) -> float:\n"
        "        open('asked.txt', 'a').write(f'{os.getpid()}\\n')\n"
        "        return super().score_of(number)\n"
    )
    tasks = [
        {"task": "judged.py:Judged", "models": ["net"]},
        {"task": f"{HOUSE}:Interview", "models": ["talker"]},
    ]
    models = {"net": {"adapter": "judged.py:Asked"}, "talker": {"adapter": f"{HOUSE}:Talker"}}
    write_house(world, tasks, models)
    world.run(out="local")
    (world.folder / "asked.txt").unlink()
    on_ray(world)
    assert world.parts("ray") == world.parts("local")
    here = {str(os.getpid())}
    assert set((world.folder / "judged.txt").read_text().split()) == here
    assert not set((world.folder / "asked.txt").read_text().split()) & here


@pytest.mark.slow
def test_a_worker_that_finds_other_files_than_the_run_says_so_at_its_start(world):
    """As on a node whose copy of the code or of the weights is an older one."""
    (world.folder / "drifting.py").write_text(
        "import os\nfrom pathlib import Path\nfrom model import Model\n"
        "class Drifting(Model):\n    def __init__(self, weights: Path) -> None:\n        super().__init__()\n"
    )
    (world.folder / "weights.bin").write_bytes(b"one")
    world.suite(models={"mine": {"adapter": "drifting.py:Drifting", "weights": "weights.bin"}})
    import medeval.engine.cluster as cluster
    from medeval.types import RunError

    real = cluster.RayPool.hire

    def hire(pool, number):
        (world.folder / "weights.bin").write_bytes(b"another")
        return real(pool, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster.RayPool, "hire", hire)
        with pytest.raises(
            RunError,
            match=r"a worker on .*: .* other content than the run was planned with \(model.weights\)",
        ):
            on_ray(world)


@pytest.mark.slow
def test_a_node_with_another_version_says_so_at_its_start(world):
    import medeval.engine.cluster as cluster
    from medeval.types import RunError

    world.suite()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster, "package_version", lambda: "9.9")
        with pytest.raises(RunError, match=r"a worker cannot start on the cluster: .*the run has 9\.9"):
            on_ray(world)
