"""Chat models in a suite: client blocks as models and in task options, the harness's settings, mistakes with their lines."""

import json
from pathlib import Path

import pytest

from medeval.suite import Suite
from medeval.types.errors import SuiteError

HEAD = """\
datasets:
  cases: {format: patient-cases}
models:
"""
GPT = "  gpt: {client: openai, model: m, base_url: 'http://localhost:1/v1'}\n"
TASK = "tasks:\n  - task: mini-cex\n"


@pytest.fixture
def load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def loaded(text):
        (tmp_path / "suite.yaml").write_text(text)
        return Suite.load("suite.yaml")

    return loaded


def test_a_model_is_a_client_block(load):
    suite = load(
        HEAD + "  gpt: {client: openai, model: m, temperature: 0, timeout: 60, baseline: true}\n" + TASK
    )
    spec = suite.model_specs["gpt"]
    assert spec.chat
    assert (spec.timeout, spec.baseline) == (60, True)
    assert dict(spec.options) == {"client": "openai", "model": "m", "temperature": 0}
    written = suite.resolved()["models"]["gpt"]
    assert (written["client"], written["model"], written["timeout"]) == ("openai", "m", 60)
    again = Suite.from_dict(suite.resolved(), suite.base)
    assert again.resolved() == suite.resolved()


def test_settings_of_the_harness_are_typed_and_relative_to_the_suite(load, tmp_path):
    (tmp_path / "prices.yaml").write_text("models: {m: {input: 1, output: 2}}")
    block = "llm: {budget: {cost: 5}, roles: {judge: {tokens: 100}}, prices: prices.yaml, cache: write}\n"
    suite = load(block + HEAD + GPT + TASK)
    assert suite.llm.budget.cost == 5
    assert suite.llm.roles["judge"].tokens == 100
    assert Suite.from_dict(suite.resolved(), suite.base).llm == suite.llm
    assert load(HEAD + GPT + TASK).llm is None


MISTAKES = {
    "unknown key of a client": (
        HEAD + "  gpt: {client: openai, model: m, modl: m}\n" + TASK,
        ["suite.yaml:4: models.gpt.modl: unknown option 'modl' of client 'openai'; did you mean 'model'?"],
    ),
    "a key in a suite": (
        HEAD + "  gpt:\n    client: openai\n    model: m\n    api_key: sk-planted\n" + TASK,
        ["suite.yaml:7: models.gpt.api_key: keys never stand in a suite"],
    ),
    "no such client": (
        HEAD + "  gpt: {client: openia, model: m}\n" + TASK,
        ["suite.yaml:4: models.gpt.client: ", "did you mean 'openai'?"],
    ),
    "adapter and client": (
        HEAD + "  gpt: {client: openai, model: m, adapter: oracle}\n" + TASK,
        ["suite.yaml:4: models.gpt.adapter: give `adapter` or `client`, not both"],
    ),
    "a patient's block": (
        HEAD + GPT + TASK + "    patient: {client: openai, model: m,\n      temprature: 0}\n",
        ["suite.yaml:8: tasks.0.patient.temprature: unknown option 'temprature' of client 'openai'"],
    ),
    "the second judge's block": (
        HEAD + GPT + TASK + "    judges:\n      - rules\n      - {client: openai}\n",
        ["suite.yaml:9: tasks.0.judges.1: missing option 'model'"],
    ),
    "budget that is text": (
        "llm:\n  budget: {cost: five}\n" + HEAD + GPT + TASK,
        ["suite.yaml:2: llm.budget.cost: expected a number, got 'five'"],
    ),
    "unknown setting": (
        "llm:\n  cashe: read\n" + HEAD + GPT + TASK,
        ["suite.yaml:2: llm.cashe: unknown option 'cashe'; did you mean 'cache'?"],
    ),
    "a mode that there is not": ("llm:\n  cache: maybe\n" + HEAD + GPT + TASK, ["suite.yaml:2: llm.cache: expected one of"]),
    "no price table": ("llm: {prices: p.yaml}\n" + HEAD + GPT + TASK, ["suite.yaml:1: llm.prices: prices ", "No such file"]),
    "settings that are a list": ("llm: [1]\n" + HEAD + GPT + TASK, ["suite.yaml:1: llm: expected a mapping"]),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_line(load, name):
    text, parts = MISTAKES[name]
    with pytest.raises(SuiteError) as caught:
        load(text)
    assert len(str(caught.value).splitlines()) == 1
    for part in parts:
        assert part in str(caught.value)
    assert "sk-planted" not in str(caught.value)


def test_the_schema_knows_client_blocks_and_the_settings():
    jsonschema = pytest.importorskip("jsonschema", reason="in the test extra")
    schema = json.loads(json.dumps(Suite.json_schema()))
    suite = {
        "llm": {"budget": {"cost": 5.0}, "cache": "off"},
        "datasets": {"cases": {"format": "patient-cases"}},
        "models": {"gpt": {"client": "openai", "model": "m", "temperature": 0.0, "timeout": 5.0}},
        "tasks": [{"task": "mini-cex"}],
    }
    jsonschema.validate(suite, schema)
    for path, wrong in [
        (("llm", "cashe"), 1),
        (("models", "gpt", "modl"), "m"),
        (("llm", "budget", "cost"), "five"),
    ]:
        broken = json.loads(json.dumps(suite))
        owner = broken
        for key in path[:-1]:
            owner = owner[key]
        owner[path[-1]] = wrong
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_a_suite_without_chat_models_imports_no_harness(tmp_path):
    import subprocess
    import sys

    (tmp_path / "suite.yaml").write_text(
        "datasets: {d: {format: mni152}}\nmodels: {m: {adapter: empty}}\ntasks: [{task: segmentation}]\n"
    )
    code = "import sys; from medeval.suite import Suite; Suite.load('suite.yaml'); print('medeval.llm.harness' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
