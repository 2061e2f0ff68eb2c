"""The floors of the house, and what importing it costs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = (
    "torch",
    "monai",
    "transformers",
    "langchain",
    "langchain_core",
    "ray",
    "matplotlib",
    "nilearn",
    "openai",
)


def test_a_room_imports_only_from_floors_below_it():
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed (it is in the dev extra)")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "import medeval",
        "import medeval.cli; from typer.testing import CliRunner; "
        "assert CliRunner().invoke(medeval.cli.app, ['--help']).exit_code == 0",
    ],
    ids=["import", "help"],
)
def test_importing_and_help_load_nothing_heavy(code):
    heavy = f"import sys; {code}; print([m for m in {HEAVY!r} + ('pandas', 'scipy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_planning_a_suite_loads_no_deep_learning_package():
    code = f"import sys, medeval.api; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "folder", ["medeval", "adapters/medeval_adapters", "reference_models/medeval_models"]
)
def test_no_first_party_file_reads_a_pickle_or_runs_a_yaml_tag(folder):
    forbidden = ("pickle.load", "yaml.load(", "yaml.unsafe_load", "allow_pickle=True", "weights_only=False")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in (ROOT / folder).rglob("*.py")
        for word in forbidden
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []
