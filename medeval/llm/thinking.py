"""Thinking apart from speech: thinking is stored, and never sent to patient, judge or history."""

from __future__ import annotations

from typing import NamedTuple

TAGS: tuple[tuple[str, str], ...] = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<thought>", "</thought>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
)


class Split(NamedTuple):
    """text: what is said. thinking: what was thought. unclosed: the reply ended inside a thought."""

    text: str
    thinking: str
    unclosed: bool


def split_thinking(text: str, tags: tuple[tuple[str, str], ...] = TAGS) -> Split:
    """Take every thought out of a reply.

    A closing tag with no opening one before it ends a thought that began at the reply's first letter: many chat templates
    put the opening tag into the prompt. An opening tag that never closes makes all after it a thought.
    """
    thoughts: list[str] = []
    unclosed = False
    for opening, closing in tags:
        if opening not in text and closing not in text:
            continue
        text, found, open_end = _split_one(text, opening, closing)
        thoughts += found
        unclosed = unclosed or open_end
    if not thoughts and not unclosed:
        return Split(text, "", False)
    return Split(text.strip(), "\n\n".join(thought for thought in thoughts if thought), unclosed)


def _split_one(text: str, opening: str, closing: str) -> tuple[str, list[str], bool]:
    thoughts: list[str] = []
    begin, end = text.find(opening), text.find(closing)
    if end >= 0 and (begin < 0 or end < begin):
        thoughts.append(text[:end].strip())
        text = text[end + len(closing) :]
    spoken: list[str] = []
    while (begin := text.find(opening)) >= 0:
        spoken.append(text[:begin])
        end = text.find(closing, begin)
        if end < 0:
            thoughts.append(text[begin + len(opening) :].strip())
            return "".join(spoken), thoughts, True
        thoughts.append(text[begin + len(opening) : end].strip())
        text = text[end + len(closing) :]
    return "".join([*spoken, text]), thoughts, False
