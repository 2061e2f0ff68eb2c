"""medeval inside pytest: run a suite in a test, compare with a baseline under version control, time predict per case.

    def test_mine(medeval_run, assert_no_regression):
        run = medeval_run("suite.yaml")
        assert_no_regression(run, "baselines/mine", metric="dice", margin=0.01)

    def test_speed(medeval_benchmark):
        medeval_benchmark("my_model.py:MyModel", {"format": "mni152", "slices": 4})

``pytest --medeval-update`` stores the baselines instead of comparing; ``--medeval-markdown FILE`` writes the comparisons for
a pull request's comment. Nothing of medeval is imported before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

UPDATE, MARKDOWN = "--medeval-update", "--medeval-markdown"
_TOLD = pytest.StashKey[
    list[tuple[str, int]]
]()  # a comparison's Markdown, and how many of its rows are worse


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options."""
    group = parser.getgroup("medeval")
    group.addoption(
        UPDATE, action="store_true", help="Store baselines from this run instead of comparing with them."
    )
    group.addoption(
        MARKDOWN, metavar="FILE", default=None, help="Write all comparisons with baselines as Markdown."
    )


def pytest_configure(config: pytest.Config) -> None:
    """A place for the comparisons."""
    config.stash[_TOLD] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the comparisons' Markdown, also when tests failed; a worker of pytest-xdist hands them to its controller."""
    path = session.config.getoption(MARKDOWN)
    told = session.config.stash[_TOLD]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["medeval"] = told
    elif path and told:
        Path(path).write_text(_markdown(told), encoding="utf-8")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a worker of pytest-xdist compared."""
    given = getattr(node, "workeroutput", {}).get("medeval", ())
    node.config.stash[_TOLD] += [(text, worse) for text, worse in given]


def _markdown(told: Sequence[tuple[str, int]]) -> str:
    """All comparisons, the verdict first."""
    worse = sum(number for _, number in told)
    verdict = f"{worse} worse than the baseline" if worse else "nothing is worse than the baseline"
    return "\n\n".join([f"### medeval: {verdict}", *(text for text, _ in told)]) + "\n"


@pytest.fixture(scope="session")
def medeval_run(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[..., Any]:
    """``medeval_run(suite, *overrides) -> Run``: the same suite is run once a session.

    suite: YAML file (relative to the working directory, else to pytest's root), registered name, or plain data.
    overrides: as ``--set``. A failed case fails the test, unless ``allow_failures=True``.
    """
    done: dict[str, Any] = {}

    def run(suite: Mapping[str, Any] | Path | str, *overrides: str, allow_failures: bool = False) -> Any:
        from medeval import api

        given = _beside(suite, request.config.rootpath)
        key = repr((given, overrides))
        if key not in done:
            options = api.RunOptions(report=False, keep_predictions=False)
            done[key] = api.run(
                given, tmp_path_factory.mktemp("medeval") / "run", overrides=overrides, options=options
            )
        failed = api.failures(done[key])
        if failed and not allow_failures:
            pytest.fail(
                f"{failed} records failed; their causes are in {done[key].path / 'log.jsonl'}", pytrace=False
            )
        return done[key]

    return run


@pytest.fixture
def assert_no_regression(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``assert_no_regression(run, baseline, metric="dice", margin=0.01)``: a paired test on the same cases.

    baseline: a folder, relative to the test's file. Fails where the mean loss is larger than ``margin`` and p < 0.05 after
    Holm's correction; ``strict=True`` asks for non-inferiority. With ``--medeval-update`` the folder is written instead.
    """

    def check(run: Any, baseline: Path | str, **options: Any) -> None:
        from medeval.regression import gate, keep_baseline

        folder = request.path.parent / baseline
        if request.config.getoption(UPDATE):
            keep_baseline(run, folder)
            return
        if not (folder / "manifest.json").exists():
            pytest.fail(
                f"{folder}: no baseline; store one with `pytest {UPDATE}` and commit it", pytrace=False
            )
        found = gate(run, folder, **options)
        told = f"#### {request.node.name}\n\n{found.markdown()}"
        request.config.stash[_TOLD].append((told, len(found.regressions)))
        if found.regressions:
            lines = "\n".join(f"  {regression.why}" for regression in found.regressions)
            pytest.fail(f"worse than the baseline {baseline}:\n{lines}", pytrace=False)

    return check


@pytest.fixture
def medeval_benchmark(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``medeval_benchmark(model, dataset, task="prompted-segmentation", cases=4, rounds=12)``: predict, a case a round.

    Needs pytest-benchmark, whose ``--benchmark-save`` and ``--benchmark-compare-fail`` then work as ever. One warm-up round a
    case comes first; CUDA is waited for in every model call. ``extra_info`` holds the median seconds inside the model, the
    peak memory and the device.
    """
    benchmark = request.getfixturevalue("benchmark")

    def time(
        model: Any, dataset: Mapping[str, Any], task: Any = "prompted-segmentation", *, cases: int = 4, rounds: int = 12
    ) -> None:  # fmt: skip
        from medeval.regression.speed import Predicting

        timed = Predicting(model, dataset, task, cases, request.path.parent)
        benchmark.pedantic(
            timed.predict,
            setup=lambda: ((timed.next_case(),), {}),
            rounds=rounds,
            warmup_rounds=len(timed.cases),
        )
        benchmark.extra_info.update(timed.told())

    return time


def _beside(suite: Mapping[str, Any] | Path | str, root: Path) -> Any:
    """A suite's file, looked for in the working directory and then in pytest's root; anything else as it is."""
    if isinstance(suite, Mapping) or Path(suite).exists():
        return suite
    return root / suite if (root / suite).exists() else suite


__all__: Sequence[str] = ("assert_no_regression", "medeval_benchmark", "medeval_run")
