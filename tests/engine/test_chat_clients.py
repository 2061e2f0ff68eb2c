"""The Mini-CEX suite through each kind of client: a server as doctor, patient and judge, and a local model as doctor."""

import sys
from pathlib import Path

import pytest
from chat_suite import TURNS, MockServer, block, suite

sys.path.insert(0, str(Path(__file__).parent))
AGENTCLINIC = Path(__file__).parents[3] / "shared" / "data" / "agentclinic" / "cases.jsonl"


@pytest.fixture
def server():
    with MockServer() as running:
        yield running


def blocks(client, server):
    """role -> a client block of this kind."""
    if client == "openai":
        pytest.importorskip("openai", reason="the SDK is in the llm extra")
        return {role: block(server, role) for role in ("doctor", "patient", "judge")}
    pytest.importorskip("langchain_core", reason="langchain-core is in the llm extra")
    return {
        role: {"client": "langchain", "model": "mock_langchain:ServerChat", "options": {"url": server.url, "name": role}}
        for role in ("doctor", "patient", "judge")
    }  # fmt: skip


def through(small, server, client, **changes):
    made = blocks(client, server)
    task = {"patient": made["patient"], "judges": [made["judge"]], **changes.pop("task", {})}
    return small.run(suite(small, server, models={"gpt": made["doctor"]}, task=task, **changes))


def rated(run, cases, samples):
    """Every owed record is scored, and the doctor's diagnosis was read."""
    frame = run.records()
    assert set(frame["status"]) <= {"ok", "undefined"}, frame[["status", "error"]].drop_duplicates()
    assert frame["case"].nunique() == cases
    assert set(frame["sample"]) == set(range(samples))
    return frame


@pytest.mark.parametrize("client", ["openai", "langchain"])
def test_own_cases_through_a_server_in_every_role(small, server, client):
    frame = rated(through(small, server, client, cases=3), 3, 2)
    top = frame[frame["structure"].str.contains("top-1")]
    assert len(top) == 6
    assert (top["rubric"] == 1).all()
    assert server.calls["doctor"] == 3 * 2 * TURNS
    assert server.calls["judge"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("client", ["openai", "langchain"])
def test_agentclinic_through_a_server_in_every_role(small, server, client):
    if not AGENTCLINIC.exists():
        pytest.skip("../shared/data/agentclinic is not there")
    data = {"cases": {"format": "patient-cases", "file": str(AGENTCLINIC)}}
    run = through(small, server, client, datasets=data, task={"samples": 1})
    rated(run, 60, 1)
    assert server.calls["doctor"] == 60 * TURNS


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A local model of random weights that knows a few words."""
    pytest.importorskip("torch", reason="torch is in the torch extra")
    transformers = pytest.importorskip("transformers", reason="transformers is in the llm extra")
    from test_llm_transformers import llama, tokenizer

    path = tmp_path_factory.mktemp("tiny")
    words = tokenizer()
    transformers.LlamaForCausalLM(llama(len(words), positions=4096)).save_pretrained(path)
    words.save_pretrained(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("cases", ["own", "agentclinic"])
def test_a_local_model_of_random_weights_is_a_doctor(small, server, tiny, cases):
    if cases == "agentclinic" and not AGENTCLINIC.exists():
        pytest.skip("../shared/data/agentclinic is not there")
    data = (
        {"datasets": {"cases": {"format": "patient-cases", "file": str(AGENTCLINIC)}}}
        if cases == "agentclinic"
        else {}
    )
    doctor = {"client": "transformers", "model": str(tiny), "temperature": 0, "max_tokens": 6}
    task = {"patient": "rules", "judges": ["rules"], "samples": 1}
    run = small.run(suite(small, server, models={"local": doctor}, task=task, **data))
    frame = run.records()
    assert frame["case"].nunique() == (60 if cases == "agentclinic" else 4)
    assert set(frame["status"]) <= {"ok", "undefined", "unparsable"}
    top = frame[frame["structure"].str.contains("top-1")]
    assert (top["rubric"].fillna(0) == 0).all()
    assert not server.calls
