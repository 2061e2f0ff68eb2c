import pytest

from medeval.interaction import PromptError, PromptSetting, parse_prompt
from medeval.types import UserError


@pytest.mark.parametrize(
    ("text", "label", "kinds", "rounds"),
    [
        ("box", "box", {"box"}, 1),
        ("box jitter 5", "box jitter 5", {"box"}, 1),
        ("box jitter 0", "box", {"box"}, 1),
        ("1 point", "1 point", {"points"}, 1),
        ("5 points", "5 points", {"points"}, 1),
        ("1 click", "1 click", {"points"}, 1),
        ("3 clicks", "3 clicks", {"points"}, 3),
        ("box + 3 clicks", "box + 3 clicks", {"box", "points"}, 4),
        ("box jitter 2 + 1 clicks", "box jitter 2 + 1 click", {"box", "points"}, 2),
        ("mask", "mask", {"mask"}, 1),
        ("  BOX+3   Clicks ", "box + 3 clicks", {"box", "points"}, 4),
        ("1 points", "1 point", {"points"}, 1),
    ],
)
def test_a_setting_says_its_label_kinds_and_rounds(text, label, kinds, rounds):
    setting = parse_prompt(text)
    assert (setting.label, setting.kinds, setting.rounds) == (label, kinds, rounds)


@pytest.mark.parametrize(
    "text", ["box", "box jitter 4", "3 points", "7 clicks", "box jitter 1 + 2 clicks", "mask"]
)
def test_the_label_reads_back_as_the_same_setting(text):
    setting = parse_prompt(text)
    assert parse_prompt(setting.label) == setting


@pytest.mark.parametrize(
    ("text", "clicks"),
    [("3 clicks", [1, 2, 3]), ("box + 2 clicks", [0, 1, 2]), ("box", [0]), ("5 points", [0]), ("mask", [0])],
)
def test_the_box_alone_is_round_one_and_clicks_follow(text, clicks):
    setting = parse_prompt(text)
    assert [setting.clicks_by(round_) for round_ in range(1, setting.rounds + 1)] == clicks


@pytest.mark.parametrize(
    "text", ["", "5", 5, None, "5 pts", "boxes", "box +", "0 clicks", "0 points", "box + 0 clicks", "-1 points",
             "box jitter", "mask + 3 clicks", "1.5 points", "box + 3 points", "3 clicks box"],
)  # fmt: skip
def test_what_is_no_setting_is_refused_with_the_grammar(text):
    with pytest.raises(PromptError, match="N clicks") as error:
        parse_prompt(text)
    assert repr(text) in str(error.value)
    assert isinstance(error.value, UserError)
    assert isinstance(error.value, ValueError)


def test_settings_are_values():
    assert {parse_prompt("3 clicks"), parse_prompt("3 click")} == {PromptSetting(clicks=3)}
