"""Thoughts taken out of replies."""

import pytest

from medeval.llm.thinking import split_thinking

CASES = {
    "none": ("plain text", "plain text", "", False),
    "closed": ("<think>hm</think>\nyes", "yes", "hm", False),
    "opening tag in the prompt": ("hm, so\n</think>\n\nyes", "yes", "hm, so", False),
    "unclosed": ("<think>hm and on", "", "hm and on", True),
    "unclosed after speech": ("yes <think>hm", "yes", "hm", True),
    "two": ("<think>a</think>x<think>b</think>y", "xy", "a\n\nb", False),
    "empty": ("<think>\n\n</think>\n\nyes", "yes", "", False),
    "other tags": ("<reasoning>hm</reasoning>yes", "yes", "hm", False),
    "not a tag": ("I think <thinks> so", "I think <thinks> so", "", False),
}


@pytest.mark.parametrize(("given", "text", "thinking", "unclosed"), CASES.values(), ids=CASES)
def test_thoughts_are_taken_out(given, text, thinking, unclosed):
    assert split_thinking(given) == (text, thinking, unclosed)


def test_tags_can_be_named():
    assert split_thinking("[t]hm[/t]yes <think>", (("[t]", "[/t]"),)) == ("yes <think>", "hm", False)
