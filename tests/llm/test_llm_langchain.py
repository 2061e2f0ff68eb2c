"""LangChain models and Runnables through the same harness."""

import pytest
from mock_server import reply, status
from pydantic import BaseModel

pytest.importorskip("langchain_core", reason="langchain-core is in the llm extra")
from langchain_core.language_models import FakeListChatModel
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import RunnableLambda

from medeval.llm import Finish, Harness, open_model, system, user
from medeval.llm.errors import EndpointDown, EndpointRefuses, ModelRaised
from medeval.types import UserError

LANGCHAIN = "medeval.llm.clients.langchain:LangChainClient"
HERE = __file__


class Told(BaseChatModel):
    """Tells what it was asked; usage and thinking as providers give them."""

    model: str = "told-1"
    api_key: str = "sk-langchain-secret-01234"

    @property
    def _llm_type(self) -> str:
        return "told"

    @property
    def _identifying_params(self):
        return {"model": self.model, "api_key": self.api_key}

    def bind_tools(self, tools, *, tool_choice=None, **kwargs):
        return self.bind(tools=tools, **kwargs)

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        name = kwargs["tools"][0]["function"]["name"] if "tools" in kwargs else ""
        message = AIMessage(
            content=[
                {"type": "reasoning", "reasoning": "hm"},
                {"type": "text", "text": f"{len(messages)} {kwargs.get('temperature')}"},
            ],
            tool_calls=[{"name": name, "args": {"score": 2}, "id": "1"}] if name else [],
            usage_metadata={
                "input_tokens": 7,
                "output_tokens": 3,
                "total_tokens": 10,
                "output_token_details": {"reasoning": 2},
            },
            response_metadata={"finish_reason": "stop", "model_name": "told-1-snapshot"},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


fake = FakeListChatModel(responses=["one", "two"])
shout = RunnableLambda(lambda messages: messages[-1]["content"].upper())
number = RunnableLambda(lambda messages: 3)
broken = RunnableLambda(lambda messages: 1 / 0)


class Slow(Exception):
    """As a provider's rate limit looks."""

    status_code = 429


def overloaded(messages):
    raise Slow("slow down")


limited = RunnableLambda(overloaded)


class Score(BaseModel):
    """A judge's score."""

    score: int


def ask(run, model, folder=None, form=None, **block):
    async def job():
        async with Harness({}, folder) as harness:
            chat = harness.chat(
                {"client": LANGCHAIN, "model": model, "limits": {"backoff": 0.0, "attempts": 3}, **block}
            )
            messages = [system("s"), user("hi")]
            return await (chat.ask(messages) if form is None else chat.ask_object(messages, form))

    return run(job)


def test_a_chat_model_gets_the_sampling_and_gives_usage_thinking_and_finish(run):
    got = ask(run, f"{HERE}:Told", temperature=0.25)
    assert (got.text, got.thinking, got.finish, got.model) == ("2 0.25", "hm", Finish.STOP, "told-1-snapshot")
    assert (got.usage.input, got.usage.output, got.usage.reasoning, got.usage.estimated) == (7, 3, 2, False)


def test_an_object_comes_by_tool(run):
    assert ask(run, f"{HERE}:Told", form=Score).value == Score(score=2)


def test_a_chat_model_without_tools_is_asked_in_the_prompt(run):
    assert ask(run, f"{HERE}:fake").text == "one"
    assert ask(run, f"{HERE}:json_fake", form=Score).value == Score(score=1)


json_fake = FakeListChatModel(responses=['so: {"score": 1}'])


def test_a_runnable_from_messages_to_text_is_a_model(run):
    got = ask(run, f"{HERE}:shout")
    assert got.text == "HI"
    assert got.usage.estimated


def test_sampling_that_a_runnable_does_not_take_is_told_on_the_reply(run):
    assert ask(run, f"{HERE}:shout", temperature=0).dropped == ("temperature",)


def test_identity_leaves_secrets_out_and_decides_caching():
    told = open_model({"client": LANGCHAIN, "model": f"{HERE}:Told"})
    assert "secret" not in told.client.identity.text
    assert told.name == "told-1"
    assert told.client.capabilities.cacheable
    assert not open_model({"client": LANGCHAIN, "model": f"{HERE}:shout"}).client.capabilities.cacheable
    assert open_model(
        {"client": LANGCHAIN, "model": f"{HERE}:shout", "name": "v1"}
    ).client.capabilities.cacheable


@pytest.mark.parametrize(
    ("model", "error", "told"),
    [("broken", ModelRaised, "ZeroDivisionError"), ("number", ModelRaised, "expected a message or text"),
     ("limited", EndpointDown, "HTTP 429: slow down"), ("Score", UserError, "cannot be built"),
     ("HERE", UserError, "got str"), ("nothing", UserError, "no 'nothing' there")],
)  # fmt: skip
def test_failures_say_whose_they_are(run, model, error, told):
    with pytest.raises(error, match=told):
        ask(run, f"{HERE}:{model}")


def test_a_key_in_the_options_is_refused():
    with pytest.raises(UserError, match="keys never stand in a suite"):
        open_model({"client": LANGCHAIN, "model": f"{HERE}:Told", "options": {"api_key": "sk-x"}})


@pytest.fixture
def provider():
    """A real provider's class, where it and an SDK that it can use are installed."""
    pytest.importorskip("langchain_openai", reason="a LangChain provider, not in the extras")
    import openai

    if int(openai.__version__.partition(".")[0]) < 2:
        pytest.skip(f"langchain-openai does not work on openai {openai.__version__}")
    return "langchain_openai.chat_models:ChatOpenAI"


def test_a_providers_model_over_http(run, server, provider, monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-langchain-over-http-0123")
    server.on("m", lambda call: status(500) if call.number == 0 else reply('{"score": 2}'))
    options = {"model": "m", "base_url": server.url}
    got = ask(
        run,
        provider,
        options=options,
        form=Score,
        folder=tmp_path,
        temperature=0.5,
    )
    assert (got.value, got.attempts, got.usage.input) == (Score(score=2), 2, 20)
    assert server.seen[-1].body["response_format"]["type"] == "json_schema"
    assert server.seen[-1].body["temperature"] == 0.5
    assert ask(
        run,
        provider,
        options=options,
        form=Score,
        folder=tmp_path,
        temperature=0.5,
    ).cached
    assert server.calls["m"] == 2


def test_a_key_that_langchain_read_is_redacted_too(run, server, provider, monkeypatch):
    key = "sk-langchain-echoed-key-0123"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    server.on("m", lambda call: status(401, f"Incorrect API key: {key}"))
    with pytest.raises(EndpointRefuses) as failure:
        ask(run, provider, options={"model": "m", "base_url": server.url})
    assert key not in str(failure.value)
    assert "the key is missing, wrong" in str(failure.value)


@pytest.mark.parametrize(
    ("reference", "is_object"),
    [
        ("collections:OrderedDict", True), ("collections:no-such-4o", False), ("openai:gpt-4o-mini", False),
        ("no_such_module:thing", False), ("package.module:thing", True), ("model.py:thing", True), ("gpt-4o-mini", False), (":thing", False),
    ],
)  # fmt: skip
def test_an_object_of_a_module_is_told_from_a_name_of_a_provider(reference, is_object):
    from medeval.llm.clients.langchain import _is_object

    assert _is_object(reference) is is_object
