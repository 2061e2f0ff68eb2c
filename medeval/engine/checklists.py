"""Items of the reporting guidelines, in our own words: those that a run answers, from its manifest, and those that authors must.

CLAIM, 2024 update (Tejani et al. 2024), for tasks on images and studies; TRIPOD-LLM (Gallifant et al. 2025) for tasks whose
model is asked in words. Numbers are the guidelines'; TRIPOD-LLM's items that concern other designs than evaluation are left
out, and so are those of an abstract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medeval.engine.overview import counted, model_rows
from medeval.metrics.base import Metric
from medeval.statistics import interval_text
from medeval.tasks.base import Task
from medeval.types.views import Column, Table

CLAIM, TRIPOD_LLM = "CLAIM 2024", "TRIPOD-LLM"
AUTHORS = "to be told by the authors"
_WORDS = ("ask", "ask_object")  # what a model that is asked in words is called by
_DATA = ("limit", "select", "split")  # options of a dataset that leave cases out


@dataclass(frozen=True)
class Facts:
    """What the answers are taken from: the tasks that a guideline is for, the run's manifest, failed records by status."""

    tasks: Sequence[Task]
    manifest: Mapping[str, Any]
    failed: Mapping[str, int]

    @property
    def suite(self) -> Mapping[str, Any]:
        """The suite as resolved."""
        found: Mapping[str, Any] = self.manifest.get("suite", {})
        return found

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The tasks' metrics by name."""
        return {metric.name: metric for task in self.tasks for metric in task.bound_metrics}


Answer = Callable[[Facts], str]


def checklists(tasks: Sequence[Task], manifest: Mapping[str, Any], failed: Mapping[str, int]) -> list[Table]:
    """One table a guideline that the tasks fall under: each item's number, what it asks for and its answer."""
    worded = [task for task in tasks if set(task.methods) & set(_WORDS)]
    pictured = [task for task in tasks if task not in worded]
    parts = ((CLAIM, pictured, _CLAIM), (TRIPOD_LLM, worded, _TRIPOD))
    return [_table(name, items, Facts(mine, manifest, failed)) for name, mine, items in parts if mine]


def checklist_text(table: Table) -> str:
    """The same as lines to be pasted: answered items first, then the numbers and matters that are left to the authors."""
    told = [
        f"- {row['item']} ({row['asks']}): {row['answer']}" for row in table.rows if row["answer"] != AUTHORS
    ]
    open_ = "; ".join(f"{row['item']} {row['asks']}" for row in table.rows if row["answer"] == AUTHORS)
    return "\n".join([f"{table.title}:", *told, f"- {AUTHORS.capitalize()}: {open_}."])


def _table(name: str, items: Sequence[tuple[str, str, Answer | None]], facts: Facts) -> Table:
    rows = [
        {"item": number, "asks": asks, "answer": (answer(facts) if answer else "") or AUTHORS}
        for number, asks, answer in items
    ]
    answered = sum(row["answer"] != AUTHORS for row in rows)
    note = f"{answered} of {len(rows)} items answered by this run, in the words of medeval; numbers are those of {name}."
    return Table(f"Reporting items of {name}", [Column("item"), Column("asks", "asks for"), Column("answer")], rows, note)  # fmt: skip


# -- answers ----------------------------------------------------------------------------------------------------


def _data(facts: Facts) -> str:
    prints = {
        name: str(data.get("fingerprint", ""))[:12]
        for name, data in facts.manifest.get("datasets", {}).items()
    }
    formats = {name: options.get("format", "") for name, options in facts.suite.get("datasets", {}).items()}
    return "; ".join(
        f"{name}, read as {formats.get(name, '')}, fingerprint {prints[name]}" for name in prints
    )


def _counts(facts: Facts) -> str:
    return "; ".join(f"{name}: {counted(data)}" for name, data in facts.manifest.get("datasets", {}).items())


def _subsets(facts: Facts) -> str:
    told = []
    for name, options in facts.suite.get("datasets", {}).items():
        kept = ", ".join(f"{key} {options[key]}" for key in _DATA if options.get(key))
        told.append(f"{name}: {kept or 'all cases'}")
    return "; ".join(told)


def _missing(facts: Facts) -> str:
    rules = {
        "worst": "counts as the worst value",
        "exclude": "is left out",
        "bounds": "is told as bounds on the score",
    }
    said = "; ".join(
        f"{task.label}: a model's failure {rules.get(task.on_failure, task.on_failure)}"
        for task in facts.tasks
    )
    return f"{said}. Records missing for other reasons are told as bounds; structures absent by the reference are counted apart"


def _models(facts: Facts) -> str:
    return "; ".join(
        f"{row['model']}: {row['adapter']}{', ' * bool(row['options'])}{row['options']}" for row in model_rows(facts.manifest)
    )  # fmt: skip


def _named_models(facts: Facts) -> str:
    names = ", ".join(row["model"] for row in model_rows(facts.manifest))
    return f"{names}; asked up to {facts.manifest.get('updated', '')}" if names else ""


def _software(facts: Facts) -> str:
    versions = {"medeval": facts.manifest.get("medeval", ""), **facts.manifest.get("versions", {})}
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _measures(facts: Facts) -> str:
    return "; ".join(
        f"{name}: {metric.definition or metric.source}" for name, metric in facts.metrics.items()
    )


def _uncertainty(facts: Facts) -> str:
    return interval_text()


def _sensitivity(facts: Facts) -> str:
    groups = [f"{task.label} by {by}" for task in facts.tasks for by in task.by]
    seeds = facts.manifest.get("seeds", [])
    several = f"{len(seeds)} seeds" if len(seeds) > 1 else ""
    strained = [task.label for task in facts.tasks if getattr(task, "corruptions", ())]
    return "; ".join(
        filter(None, [", ".join(groups), several, *(f"{name} under corruptions" for name in strained)])
    )


def _accuracy(facts: Facts) -> str:
    there = any("sensitivity" in name for name in facts.metrics)
    return "sensitivity, specificity and predictive values with intervals stand under Scores" if there else ""


def _failures(facts: Facts) -> str:
    counts = ", ".join(f"{count} {status}" for status, count in facts.failed.items()) or "no record failed"
    return f"{counts}; Failures lists their causes, the galleries show the worst cases"


def _scores(facts: Facts) -> str:
    return "the tables under Scores, each value with its interval and n"


def _protocol(facts: Facts) -> str:
    sealed = facts.manifest.get("endpoint", {}).get("sha256", "")
    return f"the suite as run stands under What was run{f'; declared endpoint sha256 {sealed[:12]}' if sealed else ''}"


def _code(facts: Facts) -> str:
    commit = (facts.manifest.get("git") or {}).get("commit", "")
    return f"evaluation: medeval {facts.manifest.get('medeval', '')}{f', commit {commit[:12]}' if commit else ''}"


def _inference(facts: Facts) -> str:
    seeds = ", ".join(map(str, facts.manifest.get("seeds", [])))
    return f"{_models(facts)}; seeds {seeds}"


def _asked(facts: Facts) -> str:
    return "; ".join(f"{task.label}: {task.protocol}" for task in facts.tasks if task.protocol)


def _prompts(facts: Facts) -> str:
    return "the prompts as sent stand in full in the suite as run; how they were designed is to be added"


def _compute(facts: Facts) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.manifest.get("machine", {}).items() if value)


_CLAIM: tuple[tuple[str, str, Answer | None], ...] = (
    ("1", "title: that this is a study of AI, and of which kind", None),
    ("2", "structured abstract", None),
    ("3", "scientific and clinical background, intended use", None),
    ("4", "aims and hypotheses", None),
    ("5", "prospective or retrospective", None),
    ("6", "goal of the study", None),
    ("7", "sources of the data", _data),
    ("8", "criteria for inclusion and exclusion", None),
    ("9", "preprocessing of the data", None),
    ("10", "which part of the data was used", _subsets),
    ("11", "de-identification", None),
    ("12", "how missing data were handled", _missing),
    ("13", "how images were acquired", None),
    ("14", "how the reference standard was obtained", None),
    ("15", "why this reference standard", None),
    ("16", "who made the reference annotations", None),
    ("17", "annotation of the test set", None),
    ("18", "variability within and between readers", None),
    ("19", "assignment of data to partitions", None),
    ("20", "level at which partitions are disjoint", None),
    ("21", "intended sample size", None),
    ("22", "description of the model", _models),
    ("23", "software and versions", _software),
    ("24", "initialisation of the model's parameters", None),
    ("25", "training", None),
    ("26", "how the final model was selected", None),
    ("27", "ensembling", None),
    ("28", "measures of performance", _measures),
    ("29", "statistical measures of significance and uncertainty", _uncertainty),
    ("30", "robustness or sensitivity analysis", _sensitivity),
    ("31", "explainability", None),
    ("32", "evaluation on internal data", None),
    ("33", "testing on external data", None),
    ("34", "registration of a clinical trial", None),
    ("35", "numbers of patients or examinations", _counts),
    ("36", "demographic and clinical characteristics by partition", None),
    ("37", "performance with its uncertainty", _scores),
    ("38", "diagnostic accuracy with its precision", _accuracy),
    ("39", "analysis of failures", _failures),
    ("40", "limitations", None),
    ("41", "implications for practice", None),
    ("42", "where the full protocol is", _protocol),
    ("43", "availability of software, models and data", _code),
    ("44", "funding and the funders' role", None),
)

_TRIPOD: tuple[tuple[str, str, Answer | None], ...] = (
    ("1", "title: that an LLM is evaluated, for which task, population and outcome", None),
    ("3", "healthcare context, target population and intended use", None),
    ("4", "objectives", None),
    ("5a", "sources of the data", _data),
    ("5b", "distribution of the data", None),
    ("5c", "dates of the oldest and newest text", None),
    ("5d", "preprocessing and checks of quality", None),
    ("5e", "missing and imbalanced data", _missing),
    ("6a", "name, version and last date of use of the LLM", _named_models),
    ("6b", "architecture, prompts and settings of inference", _inference),
    ("6d", "output before and after processing", _asked),
    ("7", "outcome, measures of quality and what it is compared with", _measures),
    ("8", "annotation: guidelines, number and background of annotators, agreement", None),
    ("9a", "how prompts were designed and chosen", _prompts),
    ("9b", "data that the prompts were developed on", None),
    ("12", "compute", _compute),
    ("13", "ethical approval", None),
    ("14a", "funding", None),
    ("14b", "conflicts of interest", None),
    ("14c", "where the protocol is", _protocol),
    ("14d", "registration", None),
    ("14e", "availability of the data", None),
    ("14f", "availability of the code", _code),
    ("15", "involvement of patients and the public", None),
    ("16a", "flow of cases through the study", _counts),
    ("16b", "characteristics of the cases", None),
    ("17", "performance", _scores),
    ("19", "interpretation, limitations and usability", None),
)
