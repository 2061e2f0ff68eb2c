"""The report knows kinds of views and no task; tasks know views and no page."""

from __future__ import annotations

import ast
import re
from importlib.metadata import entry_points
from pathlib import Path
from typing import get_args

import pytest

import medeval.report
import medeval.tasks
from medeval.report.html import _VIEWS
from medeval.types.views import View

REPORT = Path(medeval.report.__file__).parent
TASKS = Path(medeval.tasks.__file__).parent
NAMES = sorted({point.name for point in entry_points(group="medeval.tasks")})
CLASSES = sorted({point.value.partition(":")[2] for point in entry_points(group="medeval.tasks")})
SOURCES = sorted(path for path in REPORT.rglob("*") if path.suffix in (".py", ".html", ".js", ".css"))


def imported(path: Path) -> set[str]:
    """Modules that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(REPORT).as_posix())
def test_no_file_of_the_report_names_a_task(path: Path) -> None:
    text = path.read_text(encoding="utf-8").lower()
    words = [*NAMES, *(name.replace("-", "_") for name in NAMES), *(name.lower() for name in CLASSES)]
    assert len(NAMES) >= 5
    assert [word for word in words if re.search(rf"\b{re.escape(word)}\b", text)] == []


def test_the_report_imports_nothing_that_knows_tasks_or_runs() -> None:
    allowed = ("medeval.report", "medeval.types")
    found = {name for path in REPORT.rglob("*.py") for name in imported(path) if name.startswith("medeval")}
    assert found
    assert [name for name in found if not name.startswith(allowed)] == []


def test_every_kind_of_view_has_its_renderer() -> None:
    assert set(get_args(View)) == set(_VIEWS)
    assert all((REPORT / "templates" / template).exists() for template, _ in _VIEWS.values())


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_task_speaks_to_the_report_by_views_alone(path: Path) -> None:
    drawing = ("medeval.report", "jinja2", "matplotlib", "plotly")
    assert [name for name in imported(path) if name.startswith(drawing)] == []
    assert not re.search(r"</?(div|svg|span|table|script|p)\b", path.read_text(encoding="utf-8"))
