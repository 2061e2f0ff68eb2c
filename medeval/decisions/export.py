"""A run's scores for other tools: a model card with Hugging Face's model-index, MLflow, CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medeval.decisions.evidence import CellName, RunEvidence
from medeval.runs.files import write_text
from medeval.types import RunError, nearest

_TASK_TYPES = {
    "segmentation": "image-segmentation", "prompted-segmentation": "mask-generation",
    "domain-adaptation": "image-segmentation", "classification": "tabular-classification", "mini-cex": "question-answering",
}  # fmt: skip
_SCORE_COLUMNS = ("task", "dataset", "model", "arm", "baseline", "prompt", "by", "group", "metric", "direction", "unit",
                  "value", "low", "high", "n", "patients", "method", "estimand", "note")  # fmt: skip


def export(evidence: RunEvidence, to: str, out: Path, model: str = "") -> list[Path]:
    """Write the run's scores. to: "model-card", "mlflow" or "csv". out: a folder (model-card, mlflow) or file (csv).

    model: only this model's card. Returns what was written. Raises ``RunError`` for an unknown target or model.
    """
    if to not in TARGETS:
        raise RunError(f"--to {to!r}; {nearest(to, TARGETS)}")
    models = dict.fromkeys(cell.model for cell in evidence.cells)
    if model and model not in models:
        raise RunError(f"{evidence.label} has no model {model!r}; {nearest(model, models)}")
    return TARGETS[to](evidence, out, [model] if model else list(models))


def model_card(evidence: RunEvidence, model: str) -> str:
    """A README with the YAML front matter that the Hugging Face Hub reads evaluation results from."""
    import yaml

    index = [
        {
            "name": model,
            "results": [_result(evidence, cell) for cell in _told(evidence) if cell.model == model],
        }
    ]
    front = yaml.safe_dump(
        {"tags": ["medical", "evaluation", "medeval"], "model-index": index},
        sort_keys=False,
        allow_unicode=True,
    )
    lines = [f"# {model}", "", f"Evaluated with medeval {evidence.summary['medeval']}, suite `{evidence.manifest['suite']['name']}`.", "",
             "| task | dataset | setting | metric | value | 95% interval | n | patients |", "|---|---|---|---|---:|---|---:|---:|"]  # fmt: skip
    lines += [_card_line(row) for row in evidence.scores if row["model"] == model and not row["by"]]
    return f"---\n{front}---\n" + "\n".join(lines) + "\n"


def _told(evidence: RunEvidence) -> list[CellName]:
    """The cells of all score rows, also of those over several arms."""
    return list(dict.fromkeys(map(_cell_of, evidence.scores)))


def _cell_of(row: Mapping[str, Any]) -> CellName:
    return CellName(row["task"], row["dataset"], row["model"], row["arm"])


def _result(evidence: RunEvidence, cell: CellName) -> dict[str, Any]:
    entry = next(e for e in evidence.manifest["suite"]["tasks"] if e.get("name", e["task"]) == cell.task)
    data = evidence.manifest["datasets"][cell.dataset]
    rows = [row for row in evidence.scores if _cell_of(row) == cell and not row["by"]]
    return {
        "task": {"type": _TASK_TYPES.get(entry["task"], "other"), "name": cell.task},
        "dataset": {"name": cell.dataset, "type": cell.dataset, "revision": data["fingerprint"][:16]},
        "metrics": [_metric(row) for row in rows if row["value"] is not None],
    }  # fmt: skip


def _metric(row: Mapping[str, Any]) -> dict[str, Any]:
    setting = _setting(row)
    args = {name: row[name] for name in ("low", "high", "n", "patients", "method") if row[name] is not None}
    return {
        "type": row["metric"],
        "name": row["metric"] + (f" ({setting})" if setting else ""),
        "value": row["value"],
        "args": args,
    }


def _setting(row: Mapping[str, Any]) -> str:
    """Prompt and arm, where there are any."""
    return ", ".join(part for part in (row["prompt"], row["arm"]) if part)


def _card_line(row: Mapping[str, Any]) -> str:
    interval = "" if row["low"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
    value = "" if row["value"] is None else f"{row['value']:.4g}"
    patients = "unknown" if row["patients"] is None else row["patients"]
    cells = (row["task"], row["dataset"], _setting(row), row["metric"], value, interval, row["n"], patients)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _cards(evidence: RunEvidence, out: Path, models: list[str]) -> list[Path]:
    written = []
    for model in models:
        folder = out / model
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "README.md", model_card(evidence, model))
        written.append(folder / "README.md")
    return written


def scores_csv(evidence: RunEvidence) -> str:
    """Every score row of summary.json at full precision; ``group`` as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_SCORE_COLUMNS)
    for row in evidence.scores:
        writer.writerow([_plain(row.get(name)) for name in _SCORE_COLUMNS])
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value, sort_keys=True)
    return repr(value) if isinstance(value, float) else value


def _csv(evidence: RunEvidence, out: Path, models: list[str]) -> list[Path]:
    write_text(out, scores_csv(evidence))
    return [out]


def _mlflow(evidence: RunEvidence, out: Path, models: list[str]) -> list[Path]:
    """One MLflow run a model, in the tracking folder ``out``."""
    try:
        import mlflow
    except ImportError as error:
        raise RunError("--to mlflow needs MLflow: pip install mlflow") from error
    mlflow.set_tracking_uri(out.resolve().as_uri())
    mlflow.set_experiment(evidence.manifest["suite"]["name"])
    for model in models:
        with mlflow.start_run(run_name=model):
            mlflow.log_params(
                {"medeval": evidence.summary["medeval"], "seeds": str(evidence.manifest["seeds"])}
            )
            for row in evidence.scores:
                if row["model"] == model and not row["by"] and row["value"] is not None:
                    names = (row["task"], row["dataset"], row["arm"], row["prompt"], row["metric"])
                    name = "/".join(part for part in names if part)
                    mlflow.log_metric(name.translate(_MLFLOW_NAME), row["value"])
    return [out]


_MLFLOW_NAME = {ord(character): "_" for character in "@%#+:,()[]<>="}
TARGETS: dict[str, Callable[[RunEvidence, Path, list[str]], list[Path]]] = {
    "model-card": _cards, "mlflow": _mlflow, "csv": _csv,
}  # fmt: skip
