"""How long a task's ``predict`` takes a case, in the form that pytest-benchmark compares between commits."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from medeval.plugins import build, resolve
from medeval.tasks.context import Context
from medeval.types import Case, Failure

TASKS, DATASETS, ADAPTERS = "medeval.tasks", "medeval.datasets", "medeval.adapters"


class Predicting:
    """A model, some cases and a task's protocol, ready to be timed.

    model: an adapter object, or a suite's entry (``{adapter: ..., option: ...}``) or reference. dataset: a suite's entry.
    task: a task's name or entry. cases: how many, from the first. base: folder that relative paths belong to.
    """

    def __init__(
        self, model: Any, dataset: Mapping[str, Any], task: Any, cases: int, base: Path | None
    ) -> None:
        entry = {"task": task} if isinstance(task, str) else dict(task)
        self.task = build(resolve(TASKS, entry["task"], base), entry, base)
        self.model = _model(model, base)
        options = {key: value for key, value in dataset.items() if key != "format"}
        opened = build(resolve(DATASETS, dataset["format"], base), options, base)
        self.cases = [opened.read(info.id) for info in opened.scan()[:cases]]
        self.structures = tuple(dict.fromkeys(n for c in self.cases for n in c.reference["structures"].names))
        self.seconds: list[float] = []
        self._next = 0

    def next_case(self) -> Case:
        """The cases in turn, so that every round asks for another one."""
        case = self.cases[self._next % len(self.cases)]
        self._next += 1
        return case

    def predict(self, case: Case) -> int:
        """All that the task asks of the model for one case; the number of answers. Raises where the model failed."""
        context = Context(structures=self.structures)
        answers = list(self.task.predict(self.model, [case], context))
        failed = [a for a in answers if isinstance(a, Failure) and a.status.failed]
        if failed:
            raise RuntimeError(f"case {case.id}: {failed[0].error}: a failing model has no speed")
        self.seconds.append(sum(timing.seconds for timing in context.timings))
        return len(answers)

    def told(self) -> dict[str, Any]:
        """For ``extra_info``: seconds inside the model, peak memory, device."""
        info: dict[str, Any] = {
            "cases": len(self.cases),
            "model_seconds_median": median(self.seconds or [0.0]),
        }
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            info |= {
                "device": torch.cuda.get_device_name(),
                "peak_device_bytes": torch.cuda.max_memory_allocated(),
            }
        return info | {"peak_process_bytes": _peak_bytes()}


def _model(model: Any, base: Path | None) -> Any:
    if isinstance(model, str):
        model = {"adapter": model}
    if not isinstance(model, Mapping):
        return model
    options = {key: value for key, value in model.items() if key != "adapter"}
    return build(resolve(ADAPTERS, model["adapter"], base), options, base)


def _peak_bytes() -> int | None:
    """The process's largest resident size so far; None where the platform does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
