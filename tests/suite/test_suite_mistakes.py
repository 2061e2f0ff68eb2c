"""Every mistake of a suite is told with its line, what was given and what would be right; all of them at once."""

from __future__ import annotations

import pytest

from medeval.suite import Suite
from medeval.types import SuiteError

HEAD = 'datasets:\n  demo: {format: "plug.py:Folder", root: data}\n'  # lines 1-2
MODELS = 'models:\n  walker: {adapter: "plug.py:Walker"}\n'  # lines 3-4
TASKS = 'tasks:\n  - task: "plug.py:Ask"\n'  # lines 5-6
NAME_RULE = "a name is not empty, no dots alone, and has no '/', '\\', control characters or outer spaces"


def model(entry: str) -> str:
    """A suite whose model ``walker`` stands on line 4."""
    return f"{HEAD}models:\n  walker: {{adapter: 'plug.py:Walker', {entry}}}\n{TASKS}"


def task(*lines: str) -> str:
    """A suite whose task has these further lines, from line 7 on."""
    return HEAD + MODELS + TASKS + "".join(f"    {line}\n" for line in lines)


CASES = {
    "unknown outer key": (
        f"sed: 3\n{HEAD}{MODELS}{TASKS}",
        "suite.yaml:1: sed: unknown option 'sed'; did you mean 'seed'? known: datasets, llm, models, name, primary, require, save_predictions, seed, seeds, tasks",
    ),
    "missing section": (
        HEAD + MODELS,
        "suite.yaml: missing option 'tasks': list of {task: ..., options of that task}",
    ),
    "empty section": (f"{HEAD}models: {{}}\n{TASKS}", "suite.yaml:3: models: is empty; a suite needs one at least"),
    "section of a wrong kind": (f"{HEAD}{MODELS}tasks: all\n", "suite.yaml:5: tasks: expected a list, got 'all'"),
    "entry of a wrong kind": (
        f"{HEAD}models:\n  walker: random-walker\n{TASKS}",
        "suite.yaml:4: models.walker: expected a mapping, got 'random-walker'",
    ),
    "unknown option": (
        model("bta: 2"),
        "suite.yaml:4: models.walker.bta: unknown option 'bta'; did you mean 'beta'? "
        "known: adapter, baseline, beta, checkpoint, key, tags, timeout, trained_on",
    ),
    "option of a wrong kind": (model("beta: high"), "suite.yaml:4: models.walker.beta: expected a number, got 'high'"),
    "number in quotes": (
        model("beta: '2'"),
        "suite.yaml:4: models.walker.beta: expected a number, got '2'; leave out the quotes",
    ),
    "number where text is due": (
        model("tags: [a, 5]"),
        "suite.yaml:4: models.walker.tags.1: expected text, got 5; put it in quotes",
    ),
    "timeout of zero": (model("timeout: 0"), "suite.yaml:4: models.walker.timeout: should be greater than 0, got 0"),
    "infinite timeout": (
        model("timeout: .inf"),
        "suite.yaml:4: models.walker.timeout: should be a finite number, got Infinity",
    ),
    "not a number": (
        model("beta: .nan"),
        "suite.yaml:4: models.walker.beta: a suite cannot hold .nan, for it equals nothing, not even itself",
    ),
    "baseline that is no truth value": (
        model("baseline: yes"),
        "suite.yaml:4: models.walker.baseline: expected true or false, got 'yes'",
    ),
    "no adapter": (
        f"{HEAD}models:\n  walker: {{beta: 2}}\n{TASKS}",
        "suite.yaml:4: models.walker: missing option 'adapter': "
        "a registered adapter (see `medeval list adapters`) or 'path/file.py:Class'; a chat model has "
        "`client: openai|langchain|transformers|...` in its place",
    ),
    "adapter that is no text": (
        f"{HEAD}models:\n  walker: {{adapter: 5}}\n{TASKS}",
        "suite.yaml:4: models.walker.adapter: expected text, got 5; put it in quotes",
    ),
    "adapter file that is not there": (
        f"{HEAD}models:\n  walker: {{adapter: 'gone.py:Walker'}}\n{TASKS}",
        "suite.yaml:4: models.walker.adapter: no file 'gone.py' in FOLDER",
    ),
    "adapter class that is not there": (
        f"{HEAD}models:\n  walker: {{adapter: 'plug.py:Walkr'}}\n{TASKS}",
        "suite.yaml:4: models.walker.adapter: 'plug.py:Walkr': no 'Walkr' there; did you mean 'Walker'? "
        "known: Ask, Careless, Folder, Greedy, Jitter, Walker",
    ),
    "adapter that swallows typos": (
        f"{HEAD}models:\n  walker: {{adapter: 'plug.py:Careless', x: 1}}\n{TASKS}",
        "suite.yaml:4: models.walker.adapter: Careless: **kwargs swallows typos; name the options as annotated keywords",
    ),
    "adapter that takes one of medeval's keys": (
        f"{HEAD}models:\n  walker: {{adapter: 'plug.py:Greedy'}}\n{TASKS}",
        "suite.yaml:4: models.walker.adapter: its option 'timeout' is a key that medeval keeps for itself; rename it",
    ),
    "model name with a slash": (
        f"{HEAD}models:\n  a/b: {{adapter: 'plug.py:Walker'}}\n{TASKS}",
        f"suite.yaml:4: models.a/b: 'a/b' cannot be a name; {NAME_RULE}",
    ),
    "dataset name of dots": (
        f'datasets:\n  "..": {{format: "plug.py:Folder", root: data}}\n{MODELS}{TASKS}',
        f"suite.yaml:2: datasets...: '..' cannot be a name; {NAME_RULE}",
    ),
    "suite name with a control character": (
        f'name: "a\\tb"\n{HEAD}{MODELS}{TASKS}',
        f"suite.yaml:1: name: 'a\\tb' cannot be a name; {NAME_RULE}",
    ),
    "missing option of a dataset": (
        f'datasets:\n  demo: {{format: "plug.py:Folder"}}\n{MODELS}{TASKS}',
        "suite.yaml:2: datasets.demo: missing option 'root': where the images are",
    ),
    "format that is no dataset": (
        f'datasets:\n  demo: {{format: "plug.py:Walker"}}\n{MODELS}{TASKS}',
        "suite.yaml:2: datasets.demo.format: 'plug.py:Walker' is no dataset: it must be a subclass of Dataset",
    ),
    "task that is no task": (
        f'{HEAD}{MODELS}tasks:\n  - task: "plug.py:Walker"\n',
        "suite.yaml:6: tasks.0.task: 'plug.py:Walker' is no task: it must be a subclass of Task",
    ),
    "task without its key": (
        f"{HEAD}{MODELS}tasks:\n  - prompts: [box]\n",
        "suite.yaml:6: tasks.0: missing option 'task': a registered task (see `medeval list tasks`)",
    ),
    "task option of a wrong kind": (task("prompts: box"), "suite.yaml:7: tasks.0.prompts: expected a list, got 'box'"),
    "value of a closed set": (
        task("on_failure: wurst"),
        "suite.yaml:7: tasks.0.on_failure: expected one of 'worst', 'exclude' or 'bounds', got 'wurst'",
    ),
    "union: neither member": (
        task("jitter: 5"),
        "suite.yaml:7: tasks.0.jitter: expected a mapping or one of 'none', got 5",
    ),
    "union: the member that got further speaks": (
        task("jitter:", "  sigma: x"),
        "suite.yaml:8: tasks.0.jitter.sigma: expected a number, got 'x'",
    ),
    "unknown key inside an option": (
        task("jitter: {sgma: 1}"),
        "suite.yaml:7: tasks.0.jitter.sgma: unknown option 'sgma'; did you mean 'sigma'? known: sigma",
    ),
    "task for a dataset that is not there": (
        task("datasets:", "  - demo", "  - dmo"),
        "suite.yaml:9: tasks.0.datasets.1: the suite has no dataset 'dmo'; did you mean 'demo'? known: demo",
    ),
    "task for a model that is not there": (
        task("models: [wlker]"),
        "suite.yaml:7: tasks.0.models.0: the suite has no model 'wlker'; did you mean 'walker'? known: walker",
    ),
    "task for no model": (task("models: []"), "suite.yaml:7: tasks.0.models: is empty; leave it out for all models"),
    "task that prepares from a dataset that is not there": (
        task("train: dmo"),
        "suite.yaml:6: tasks.0: the suite has no dataset 'dmo'; did you mean 'demo'? known: demo",
    ),
    "two tasks of one name": (
        task() + '  - task: "plug.py:Ask"\n',
        "suite.yaml:7: tasks.1: a second task called 'Ask' (the first: line 6); give one of them a `name:`",
    ),
    "seed and seeds": (
        f"seed: 1\nseeds: [1, 2]\n{HEAD}{MODELS}{TASKS}",
        "suite.yaml:2: seeds: give `seed` or `seeds`, not both",
    ),
    "a seed twice": (
        f"seeds: [1, 1]\n{HEAD}{MODELS}{TASKS}",
        "suite.yaml:1: seeds: expected different whole numbers, got [1, 1]",
    ),
    "seed that is no whole number": (
        f"seed: 0.5\n{HEAD}{MODELS}{TASKS}",
        "suite.yaml:1: seed: expected a whole number, got 0.5",
    ),
    "models of one name": (
        f'{HEAD}models:\n  w: {{adapter: "plug.py:Walker"}}\n  w: {{adapter: "plug.py:Walker"}}\n{TASKS}',
        "suite.yaml:5: models.w: key 'w' is given twice, first on line 4",
    ),
    "section given twice": (
        f"{HEAD}{MODELS}{MODELS}{TASKS}",
        "suite.yaml:5: models: key 'models' is given twice, first on line 3",
    ),
    "python tag": (
        model("beta: !!python/object/apply:os.system ['touch owned']"),
        "suite.yaml:4: models.walker.beta: tag '!!python/object/apply:os.system' is refused and was not executed; "
        "a suite holds plain data only",
    ),
    "unknown tag": (
        model("beta: !mine 3"),
        "suite.yaml:4: models.walker.beta: tag '!mine' is refused and was not executed; a suite holds plain data only",
    ),
    "variable that is not set": (
        model("key: '${NOT_SET}'"),
        "suite.yaml:4: models.walker.key: environment variable NOT_SET is not set; set it, or give a default: ${NOT_SET:-...}",
    ),
    "variable that is not closed": (
        model("key: 'a ${b'"),
        "suite.yaml:4: models.walker.key: 'a ${b' has a `${` that is no `${NAME}`; write `$${` where it is meant as text",
    ),
    "alias into itself": (
        model("tags: &t [a, *t]"),
        "suite.yaml:4: models.walker.tags.1: an alias that contains itself",
    ),
    "merge of a list": (
        f'{HEAD}models:\n  walker:\n    <<: [1]\n    adapter: "plug.py:Walker"\n{TASKS}',
        "suite.yaml:5: models.walker: `<<` merges mappings only",
    ),
    "key that is no text": (
        f'{HEAD}models:\n  walker: {{adapter: "plug.py:Walker"}}\n  [a, b]: 1\n{TASKS}',
        "suite.yaml:5: models: a key must be text that is not empty",
    ),
    "variable without quotes in braces": (
        model("key: ${HOME}"),
        "suite.yaml:4: not valid YAML: while parsing a flow mapping, expected ',' or '}', but got '{'; "
        "put ${...} in quotes inside { } or [ ]",
    ),
    "syntax": (
        f"{HEAD}models: [\n{TASKS}",
        "suite.yaml:5: not valid YAML: while parsing a flow node, expected the node content, but found '-'",
    ),
    "tab": (
        f"{HEAD}models:\n\twalker: 1\n",
        "suite.yaml:4: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token; "
        "YAML indents with spaces, not tabs",
    ),
    "two documents": (
        f"{HEAD}---\n{HEAD}",
        "suite.yaml:3: not valid YAML: expected a single document in the stream, but found another document",
    ),
    "no mapping": ("- a\n", "suite.yaml: a suite is a mapping with the keys datasets, models and tasks"),
    "empty file": ("# nothing\n", "suite.yaml: the file is empty; a suite has datasets, models and tasks"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_mistake_is_told_exactly(load, folder, name):
    text, message = CASES[name]
    with pytest.raises(SuiteError) as caught:
        load(text)
    assert str(caught.value) == message.replace("FOLDER", str(folder))
    assert not (folder / "owned").exists()


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(load):
    text = (
        "seed: x\n"
        'datasets:\n  demo: {format: "plug.py:Folder", rot: data}\n'
        'models:\n  walker:\n    adapter: "plug.py:Walker"\n    timeout: -1\n    key: ${NOT_SET}\n    bta: 3\n    beta: x\n'
        'tasks:\n  - task: "plug.py:Ask"\n    metrics: [dicee]\n    models: [x]\n'
    )
    with pytest.raises(SuiteError) as caught:
        load(text, "models.wlker.beta=3")
    starts = [
        line.partition(" ")[0] + line.partition(" ")[2].partition(": ")[0]
        for line in str(caught.value).splitlines()
    ]
    assert starts == [
        "suite.yaml:1:seed",
        "suite.yaml:3:datasets.demo.rot",
        "suite.yaml:3:datasets.demo",
        "suite.yaml:7:models.walker.timeout",
        "suite.yaml:8:models.walker.key",
        "suite.yaml:9:models.walker.bta",
        "suite.yaml:10:models.walker.beta",
        "suite.yaml:13:tasks.0.metrics",
        "suite.yaml:14:tasks.0.models.0",
        "--setmodels.wlker.beta=3",
    ]


def test_an_unknown_metric_names_the_nearest(load):
    with pytest.raises(SuiteError, match=r"suite.yaml:7: tasks.0.metrics\S*: unknown metric 'dicee'"):
        load(task("metrics: [dicee]"))


def test_an_alias_bomb_is_refused_quickly(load):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(SuiteError, match="more than 100000 values once its aliases are expanded"):
        load("\n".join(lines))


def test_a_bomb_of_merges_is_refused_quickly(load):
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 12)]
    with pytest.raises(SuiteError, match="more than 100000 values once its aliases are expanded"):
        load("\n".join(lines))


def test_nesting_without_end_is_refused(load):
    with pytest.raises(SuiteError, match="nested too deeply"):
        load("[" * 5000 + "]" * 5000)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe\x00", "is not UTF-8 text"), (b"a: \x00", r"not valid YAML: .*#x0000")],
)
def test_a_file_that_is_no_text_is_refused(folder, content, message):
    (folder / "suite.yaml").write_bytes(content)
    with pytest.raises(SuiteError, match=message):
        Suite.load("suite.yaml")


def test_a_large_file_is_refused_before_it_is_read(folder):
    with open("suite.yaml", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(SuiteError, match="larger than 16 MB"):
        Suite.load("suite.yaml")


def test_a_secret_does_not_stand_in_a_message(load, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "sk-very-secret")
    with pytest.raises(SuiteError) as caught:
        load(model("beta: '${MY_API_KEY}'"))
    assert "sk-very" not in str(caught.value)
    assert "${MY_API_KEY}" in str(caught.value)


def test_mistakes_of_python_data_are_told_by_key(folder):
    with pytest.raises(
        SuiteError, match=r"^suite: models.walker.bta: unknown option 'bta'; did you mean 'beta'"
    ):
        Suite.from_dict(
            {
                "datasets": {"demo": {"format": "plug.py:Folder", "root": "data"}},
                "models": {"walker": {"adapter": "plug.py:Walker", "bta": 1}},
                "tasks": [{"task": "plug.py:Ask"}],
            },
            folder,
        )
    with pytest.raises(SuiteError, match="must be plain data"):
        Suite.from_dict({"name": object()})
