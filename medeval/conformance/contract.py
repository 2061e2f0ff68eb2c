"""What every answer must be, whatever the protocol: well-formed, on the CPU, of its own memory; and the question left alone."""

from __future__ import annotations

from typing import Any

from medeval.conformance.findings import Found, Told, check
from medeval.conformance.subjects import Subject, frozen, same
from medeval.tasks.masks import to_numpy

OWN_BUFFER = (
    "return new arrays: the last answers are still scored, and fed back, while the next question is asked"
)


@check("answers", "answer as the protocol says")
def answers(subject: Subject, scenes: list[Any]) -> Found:
    """The first scene's answer holds to the protocol: the task's own check."""
    return named(scenes[0], subject.wrong(scenes[0], subject.answer(scenes[0])))


@check("device", "return numpy arrays or CPU tensors: a tensor on a GPU stays there until it is scored")
def device(subject: Subject, scenes: list[Any]) -> Found:
    """No answer lies on an accelerator."""
    parts = subject.parts(subject.answer(scenes[0]))
    where = {place for part in parts if (place := _device(part)) not in (None, "cpu")}
    return f"answers lie on {', '.join(sorted(map(str, where)))}" if where else None


@check("input untouched", "work on a copy: the same image goes to other models")
def input_untouched(subject: Subject, scenes: list[Any]) -> Found:
    """All that the model is handed is byte for byte as it was."""
    given = subject.given(scenes[0])
    before = {name: frozen(value) for name, value in given.items()}
    subject.ask(given)
    changed = [name for name, value in given.items() if frozen(value) != before[name]]
    return f"`{'` and `'.join(changed)}` changed in place" if changed else None


@check("own memory", OWN_BUFFER, needs=("answers", "determinism"))
def own_memory(subject: Subject, scenes: list[Any]) -> Found:
    """An answer stays what it was while the next questions are answered."""
    scene = subject.brief(scenes[0])
    raw = subject.answer(scene)
    before = [to_numpy(part).copy() for part in subject.parts(raw)]
    for number in range(2):
        subject.answer(subject.another(scene, number))
    after = [to_numpy(part) for part in subject.parts(raw)]
    return (
        None
        if same(before, after)
        else "an answer changed when the next question was asked: it is the same buffer"
    )


def named(scene: Any, found: Found) -> Found:
    """What is wrong, with the scene's name before it."""
    if found is None or isinstance(found, Told):
        return found
    return f"{scene.name}: {found}" if isinstance(found, str) else (f"{scene.name}: {found[0]}", found[1])


def _device(value: Any) -> str | None:
    place = getattr(value, "device", None)
    return None if place is None else str(getattr(place, "type", place)).partition(":")[0]
