"""The YAML block: what it takes, and what it says to mistakes."""

import pytest

from medeval.llm import open_model, validate_block
from medeval.plugins import OptionsError
from medeval.types import PluginError, UserError

OPENAI = "medeval.llm.clients.openai:OpenAIClient"
GOOD = {
    "client": OPENAI,
    "model": "gpt-4o-mini",
    "temperature": 0,
    "limits": {"rpm": 500},
    "extra_body": {"top_k": 4},
}


def test_a_block_becomes_a_model_without_key_network_or_sdk():
    model = open_model(GOOD)
    assert model.name == "gpt-4o-mini"
    assert model.keys.limits.rpm == 500
    assert model.keys.sampling.given() == {"temperature": 0.0, "extra_body": {"top_k": 4}}
    assert model.client.identity.endpoint == "https://api.openai.com/v1"


def test_a_checked_block_is_accepted_again():
    assert validate_block(validate_block(GOOD)) == validate_block(GOOD)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"temprature": 0}, "did you mean 'temperature'"),
        ({"base_ulr": "http://x"}, "did you mean 'base_url'"),
        ({"temperature": "0"}, "leave out the quotes"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"limits": {"rmp": 5}}, "did you mean 'rpm'"),
        ({"limits": {"connections": 0}}, "limits.connections"),
        ({"extra_body": {"messages": []}}, "medeval sets it itself"),
        ({"base_url": "localhost:8000"}, "expected a URL"),
        ({"history": "drop"}, "drop-oldest"),
        ({"max_tokens_field": "tokens"}, "max_completion_tokens"),
        ({"structured": "xml"}, "schema"),
    ],
)
def test_a_mistake_is_told_with_its_key(change, told):
    with pytest.raises(OptionsError) as error:
        validate_block({**GOOD, **change})
    assert told in str(error.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(OptionsError) as error:
        validate_block({"client": OPENAI, "modle": "x", "api_key": "y"})
    assert len(error.value.errors) == 3


def test_an_unknown_client_lists_the_known():
    with pytest.raises(PluginError, match="unknown client 'opnai'"):
        validate_block({"client": "opnai", "model": "x"})


@pytest.mark.parametrize(
    ("options", "told"),
    [({"azure_endpoint": "https://x.example"}, "needs api_version"),
     ({"azure_endpoint": "https://x.example", "api_version": "1", "base_url": "https://y.example"}, "not both")],
)  # fmt: skip
def test_the_azure_form_is_whole_or_refused(options, told):
    with pytest.raises(UserError, match=told):
        open_model({"client": OPENAI, "model": "m", **options})


def test_a_key_file_is_relative_to_the_suite(tmp_path):
    (tmp_path / "key.txt").write_text("x")
    checked = validate_block({"client": OPENAI, "model": "m", "api_key_file": "key.txt"}, tmp_path)
    assert checked["api_key_file"] == str(tmp_path / "key.txt")


def documented():
    """The client blocks that docs/llm.md shows first."""
    import re
    from pathlib import Path

    import yaml

    text = (Path(__file__).parents[2] / "docs" / "llm.md").read_text(encoding="utf-8")
    section = re.search(r"```yaml\n(.*?)```", text, re.S).group(1)
    return [block for block in map(yaml.safe_load, section.splitlines()) if ".py" not in block["client"]]


@pytest.mark.parametrize("block", documented(), ids=str)
def test_every_block_that_the_documentation_shows_holds(block):
    classes = {
        name: f"medeval.llm.clients.{name}:{name.title()}Client"
        for name in ("scripted", "replay", "human", "transformers")
    }
    classes |= {"openai": OPENAI, "langchain": "medeval.llm.clients.langchain:LangChainClient"}
    assert validate_block({**block, "client": classes[block["client"]]})
