"""What a server's list of models tells before a run begins, and when nobody is asked for it."""

import pytest
from chat_suite import MockServer, block, suite

pytest.importorskip("openai", reason="the SDK is in the llm extra")

import medeval
from medeval.types import UserError


@pytest.fixture
def server():
    with MockServer() as running:
        yield running


def listing(*names, **more):
    return {"object": "list", "data": [{"id": name, "object": "model", **more} for name in names]}


def test_unknown_models_are_told_before_the_first_call_all_at_once(small, server):
    server.listed = listing("doctor", "judge-2")
    with pytest.raises(UserError) as told:
        small.run(suite(small, server))
    lines = str(told.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "tasks.mini-cex.patient",
        "tasks.mini-cex.judges.1",
    ]
    assert f"{server.url} lists no model 'judge'; did you mean 'judge-2'" in lines[1]
    assert "check_model: false" in lines[0]
    assert (sum(server.calls.values()), server.listings) == (0, 1)


@pytest.mark.parametrize(
    "listed",
    [
        listing("doctor", "patient", "judge", "another"),
        listing("doctor:latest", "patient:latest", "judge:latest"),
        listing("*"),
        listing("model.gguf", owned_by="llamacpp"),
        listing(),
        None,
        ["doctor"],
        {"data": "none"},
        {"data": [1]},
    ],
)
def test_a_server_that_knows_them_or_does_not_tell_is_asked(small, server, listed):
    server.listed = listed
    run = small.run(suite(small, server, cases=1))
    assert set(run.records()["status"]) <= {"ok", "undefined"}
    assert server.listings == 1


def test_a_list_that_does_not_come_keeps_nobody_waiting(small, server, monkeypatch):
    from medeval.llm.clients import openai

    async def late(self, *args, **options):
        import asyncio

        await asyncio.sleep(60)

    monkeypatch.setattr(openai, "LISTING_SECONDS", 0.05)
    monkeypatch.setattr("openai.AsyncOpenAI.get", late)
    assert len(small.run(suite(small, server, cases=1)).records())


def test_an_unlisted_name_can_be_asked_all_the_same(small, server):
    server.listed = listing("patient", "judge")
    models = {"gpt": block(server, "doctor", check_model=False)}
    assert len(small.run(suite(small, server, cases=1, models=models)).records())


def test_the_check_is_no_part_of_who_answers(small, server):
    small.run(suite(small, server, cases=1))
    before = dict(server.calls)
    small.run(suite(small, server, cases=1, models={"gpt": block(server, "doctor", check_model=False)}))
    assert dict(server.calls) == before


def test_a_replayed_run_and_a_finished_one_ask_nothing(small, server):
    small.run(suite(small, server, cases=1))
    server.listings = 0
    small.run()
    cache = small.folder / "run" / "llm" / "cache.sqlite"
    path = suite(small, server, cases=1, llm={"cache": "replay", "cache_file": str(cache)})
    assert len(small.run(path, out="again").records())
    assert server.listings == 0


def test_outputs_without_scores_need_no_key_of_a_judge(small, server):
    task = {"judges": [block(server, "judge", api_key_env="NO_SUCH_KEY")]}
    kept = small.run(suite(small, server, cases=1, task=task), score=False)
    assert server.calls["doctor"]
    assert not server.calls["judge"]
    with pytest.raises(UserError, match=r"judges\.0: the environment variable NO_SUCH_KEY"):
        medeval.score(kept.path)
    with pytest.raises(UserError, match=r"judges\.0: the environment variable NO_SUCH_KEY"):
        small.run(out="both")
