"""The room's plug-ins by their names, as an installed package registers them."""

from pathlib import Path

import pytest

from medeval import plugins

ENTRIES = """[medeval.tasks]
mini-cex = medeval.tasks.mini_cex:MiniCex
[medeval.datasets]
patient-cases = medeval.dialogue.dataset:PatientCases
[medeval.metrics]
rubric = medeval.metrics.rubric
[medeval.adapters]
scripted-doctor = medeval.dialogue.scripted:ScriptedDoctor
dialogues = medeval.dialogue.finished:FinishedDialogues
"""


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The entry points, whether or not this checkout is installed with them: equal claims are one."""
    info = tmp_path / "site" / "dialogue_room-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: dialogue-room\nVersion: 1\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    plugins.refresh()
    yield
    monkeypatch.undo()
    plugins.refresh()
