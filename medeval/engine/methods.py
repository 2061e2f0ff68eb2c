"""The report's methods section: what was done, in sentences that a paper can take over, and the works that they rest on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from medeval.engine.bibliography import bibtex
from medeval.engine.checklists import checklist_text, checklists
from medeval.metrics.base import Metric
from medeval.report import Section
from medeval.statistics import interval_text
from medeval.tasks.base import Task
from medeval.types.views import Passage, View

_SAID_ELSEWHERE = ("task", "name", "datasets", "models", "metrics", "on_failure", "average")
_OF_THE_MACHINE = ("batch_size", "journal")  # no part of what was measured
_BOOTSTRAP = "Davison & Hinkley 1997; Field & Welsh 2007"


def methods_section(
    tasks: Sequence[Task],
    views: Sequence[View],
    manifest: Mapping[str, Any],
    failed: Mapping[str, int] | None = None,
) -> Section:
    """Protocol, definitions, intervals, seeds and versions as text; reporting items; all to be copied, with BibTeX.

    views: of the whole report; works named in their notes are listed too. failed: status -> number of records.
    """
    metrics = {metric.name: metric for task in tasks for metric in task.bound_metrics}
    of_masks = {metric.name for task in tasks if "structures" in task.needs for metric in task.bound_metrics}
    lines = [
        f"Models were evaluated with medeval {manifest.get('medeval', '')} on {_datasets(manifest)}.",
        *_seeds(manifest),
        *(f"- {line}" for task in tasks for line in _protocol(task, manifest)),
        *(f"- {_definition(metric, name in of_masks)}" for name, metric in metrics.items()),
        "",
        interval_text(),
        *_software(manifest),
    ]
    items = checklists(tasks, manifest, failed or {})
    noted = (view.note for view in (*views, *items))
    sources = [*(m.source for m in metrics.values()), _BOOTSTRAP, *noted]
    text = "\n".join(lines)
    everything = "\n\n".join([text, *map(checklist_text, items)])
    passages = [Passage("Methods and reporting items (plain text)", everything), Passage("References (BibTeX)", bibtex(sources))]  # fmt: skip
    return Section("Methods", [*items, *passages], text)


def _datasets(manifest: Mapping[str, Any]) -> str:
    told = []
    for name, data in manifest.get("datasets", {}).items():
        patients = data.get("patients")
        known = "patients not known" if patients is None else f"patients: {patients}"
        told.append(f"{name} (cases: {data.get('cases')}, {known})")
    return ", ".join(told)


def _seeds(manifest: Mapping[str, Any]) -> list[str]:
    seeds = ", ".join(map(str, manifest.get("suite", {}).get("seeds", ())))
    return [f"All draws depend on the seeds: {seeds}."] if seeds else []


def _protocol(task: Task, manifest: Mapping[str, Any]) -> Iterator[str]:
    """The task's settings as the suite resolved them."""
    listed = manifest.get("suite", {}).get("tasks", ())
    options: Mapping[str, Any] = next((given for given in listed if given.get("name") == task.label), {})
    left = (*_SAID_ELSEWHERE, *_OF_THE_MACHINE)
    told = [
        f"{name}: {_plain(value)}" for name, value in options.items() if name not in left and _says(value)
    ]
    yield f"Protocol of {task.label} ({task.task}): " + "; ".join(told)
    yield f"Scores of {task.label} are means over {task.average}. On a model's failure: {task.on_failure}."


def _says(value: Any) -> bool:
    return value is not None and value != [] and value != {}


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list | tuple) else str(value)


def _definition(metric: Metric, of_masks: bool) -> str:
    edges = "empty masks" if of_masks else "edge cases"
    parts = [metric.definition, f"{edges}: {metric.empties}" if metric.empties else "",
             f"after {metric.source}" if metric.source else ""]  # fmt: skip
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.name} ({metric.direction} is better{unit}): " + "; ".join(filter(None, parts))


def _software(manifest: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items())
    return [f"Software: {versions}."] if versions else []
