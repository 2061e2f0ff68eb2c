"""A tiny model with random weights, made here: no hub, no download."""

# ruff: noqa: E402

import asyncio

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is in the torch extra")
transformers = pytest.importorskip("transformers", reason="transformers is in the llm extra")
from medeval.llm import (
    ContextTooLong,
    EndpointRefuses,
    Finish,
    Harness,
    ModelRaised,
    Picture,
    Tool,
    assistant,
    open_model,
    system,
    user,
)
from medeval.llm.errors import BadCall
from medeval.llm.requests import Sampling

CLIENT = "medeval.llm.clients.transformers:TransformersClient"
WORDS = [f"w{i}" for i in range(60)] + ["hi", "there", "pain", "user", "assistant", "system", ":", "\n", "s"]
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' and refuse_system is defined %}"
    "{{ raise_exception('System role not supported') }}{% endif %}{{ m['role'] }} : "
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}<image>{% else %}{{ p['text'] }}{% endif %}{% endfor %}{% endif %} \n {% endfor %}"
    "{% if add_generation_prompt %}assistant : {% endif %}"
)


def tokenizer(extra=()):
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    words = ["<pad>", "<s>", "</s>", "<unk>", *extra, *WORDS]
    model = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    model.pre_tokenizer = WhitespaceSplit()
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=model, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        additional_special_tokens=list(extra),
    )  # fmt: skip
    made.chat_template = TEMPLATE
    return made


def llama(words, positions=256):
    torch.manual_seed(0)
    return transformers.LlamaConfig(
        vocab_size=words, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=positions, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny")
    words = tokenizer()
    transformers.LlamaForCausalLM(llama(len(words))).save_pretrained(path)
    words.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def seeing(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny-vision")
    words = tokenizer(["<image>"])
    vision = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=28,
        patch_size=14,
    )
    config = transformers.LlavaConfig(
        vision_config=vision, text_config=llama(len(words)), image_token_index=words.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1, vision_feature_select_strategy="default",
    )  # fmt: skip
    transformers.LlavaForConditionalGeneration(config).save_pretrained(path)
    images = transformers.CLIPImageProcessor(
        size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}
    )
    transformers.LlavaProcessor(
        images, words, patch_size=14, vision_feature_select_strategy="default", chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(path)  # fmt: skip
    return path


def block(folder, **more):
    return {
        "client": CLIENT,
        "model": str(folder),
        "device": "cpu",
        "local_files_only": True,
        "max_tokens": 6,
        **more,
    }


def ask_all(run, given, conversations, folder=None, **more):
    async def job():
        async with Harness({}, folder) as harness:
            chat = harness.chat(given)
            return await asyncio.gather(*(chat.ask(messages, **more) for messages in conversations))

    return run(job)


TALKS = [
    [user("hi there")],
    [system("s"), user("pain w1 w2 w3 w4 w5")],
    [user("w7"), assistant("w8"), user("w9 w10")],
]


def test_a_batch_gives_what_each_alone_gives(run, folder):
    together = ask_all(run, block(folder), TALKS)
    alone = [ask_all(run, block(folder, batch_size=1), [talk])[0] for talk in TALKS]
    assert [got.text for got in together] == [got.text for got in alone]
    assert [got.usage for got in together] == [got.usage for got in alone]
    assert {got.raw["batch"] for got in together} == {3}


def test_the_prompt_is_the_templates_with_one_begin_token(run, folder):
    (got,) = ask_all(run, block(folder), [[user("hi there")]])
    assert got.usage.input == len(["<s>", "user", ":", "hi", "there", "assistant", ":"])


def test_greedy_is_repeatable_and_a_seed_makes_sampling_so(run, folder):
    hot = block(folder, temperature=2.0, seed=3, max_tokens=12)
    first, again = (ask_all(run, hot, TALKS) for _ in range(2))
    assert [got.text for got in first] == [got.text for got in again]
    assert {got.raw["batch"] for got in first} == {1}
    other = ask_all(run, hot, TALKS, sample=1)
    assert [got.text for got in other] != [got.text for got in first]


def test_a_reply_that_reaches_its_limit_is_a_cut(run, folder):
    (got,) = ask_all(run, block(folder, max_tokens=1), TALKS[:1])
    assert (got.finish, got.usage.output) == (Finish.LENGTH, 1)


def test_a_stop_text_ends_the_reply(run, folder):
    (whole,) = ask_all(run, block(folder), TALKS[:1])
    words = whole.text.split()
    (cut,) = ask_all(run, block(folder, stop=[words[2]]), TALKS[:1])
    assert cut.text.split() == words[: words.index(words[2])]
    assert cut.finish is Finish.STOP


def test_a_prompt_that_does_not_fit_fails_alone(run, folder):
    async def job():
        async with Harness() as harness:
            chat = harness.chat(block(folder))
            return await asyncio.gather(
                *(chat.ask(m) for m in ([user("hi")], [user("w1 " * 300)])), return_exceptions=True
            )

    good, bad = run(job)
    assert good.usage.output
    assert isinstance(bad, ContextTooLong)


def test_a_template_without_a_system_role_gets_it_in_the_first_message(run, folder):
    given = block(folder, template_args={"refuse_system": True})
    (got,) = ask_all(run, given, [[system("s"), user("hi")]])
    assert got.usage.input == len(["<s>", "user", ":", "s", "hi", "assistant", ":"])


def test_what_local_generation_cannot_do_is_told(run, folder):
    (got,) = ask_all(run, block(folder), TALKS[:1], sampling=Sampling(frequency_penalty=0.5))
    assert got.dropped == ("frequency_penalty",)
    with pytest.raises(BadCall, match="tool calls"):
        ask_all(run, block(folder), TALKS[:1], tools=[Tool("t", "", {})])
    with pytest.raises(BadCall, match="vision: true"):
        ask_all(run, block(folder), [[user("hi", Picture(b"x"))]])


def test_a_model_that_cannot_be_loaded_is_told(run, tmp_path):
    with pytest.raises(EndpointRefuses, match="cannot be loaded"):
        ask_all(run, block(tmp_path), TALKS[:1])


def test_a_crash_inside_the_model_is_the_models(run, folder, monkeypatch):
    given = open_model(block(folder))
    monkeypatch.setattr(given.client._engine.model, "generate", lambda **_: 1 / 0)
    with pytest.raises(ModelRaised, match="ZeroDivisionError"):
        ask_all(run, given, TALKS[:1])


def test_a_batch_that_does_not_fit_in_memory_is_done_one_by_one(run, folder, monkeypatch):
    given = open_model(block(folder))
    real = given.client._engine.model.generate

    def small(**inputs):
        if len(inputs["input_ids"]) > 1:
            raise RuntimeError("CUDA out of memory")
        return real(**inputs)

    monkeypatch.setattr(given.client._engine.model, "generate", small)
    assert {got.raw["batch"] for got in ask_all(run, given, TALKS)} == {1}


def test_identity_changes_with_what_changes_replies(folder, seeing):
    texts = {
        open_model(block(path, **more)).client.identity.text
        for path, more in (
            (folder, {}),
            (folder, {"dtype": "bfloat16"}),
            (seeing, {}),
            (folder, {"name": "x"}),
        )
    }
    assert len(texts) == 4


def test_a_cached_reply_needs_no_model(run, folder, tmp_path):
    first = ask_all(run, block(folder), TALKS, tmp_path)
    given = open_model(block(folder))
    again = ask_all(run, given, TALKS, tmp_path)
    assert [got.text for got in again] == [got.text for got in first]
    assert "_engine" not in vars(given.client)


def picture(value):
    import io

    from PIL import Image

    kept = io.BytesIO()
    Image.fromarray(np.full((30, 40, 3), value, np.uint8)).save(kept, "PNG")
    return Picture(kept.getvalue())


def test_a_vision_model_sees_the_picture(run, seeing):
    given = block(seeing, vision=True)
    talks = [[user("hi", picture(0))], [user("hi", picture(255))], [user("hi")]]
    dark, light, none = ask_all(run, given, talks)
    assert dark.usage.input == light.usage.input == none.usage.input + 4  # 2 x 2 patches
    assert (dark.text, light.text) == tuple(got.text for got in ask_all(run, given, talks[:2]))
