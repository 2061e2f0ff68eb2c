"""Prompts that people gave, read from a file and given again: the file is JSON Lines, one line a round.

    {"case": "amos_0001", "structure": "liver", "annotator": "A", "round": 1, "box": [[10, 20, 5], [60, 80, 40]]}
    {"case": "amos_0001", "structure": "liver", "annotator": "A", "round": 2, "clicks": [[30, 41, 12, 1], [70, 41, 12, 0]],
     "seconds": 4.2}
    {"case": "amos_0002", "structure": "liver", "annotator": "B", "round": 1,
     "strokes": [{"kind": "scribble", "path": [[30, 41, 12], [31, 42, 12]], "label": 1}]}

Voxels in array order (R, A, S; pictures row, column), boxes half-open ``[[start], [stop]]``, clicks ``[voxel..., label]``,
``boxes`` a list of boxes each one slice thick, ``kind`` "line", "lasso" or "scribble". ``annotator`` (default "") tells
people, or sessions of one person, apart: each is a sample of the same case. ``seconds`` is what the round took the user.
Rounds count from 1 without gaps. A model is given all rounds so far, as in a simulated session.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medeval.interaction.effort import Effort, path_length, planes
from medeval.types import DatasetError, Prompt, Stroke

_KEYS = frozenset({"case", "structure", "annotator", "round", "clicks", "box", "boxes", "strokes", "seconds"})
_KINDS = ("line", "lasso", "scribble")


@dataclass(frozen=True, eq=False)
class RecordedRound:
    """What one person gave in one round. points: (n, ndim); labels: (n,); seconds: None where nobody measured."""

    points: NDArray[np.int64] | None = None
    labels: NDArray[np.int64] | None = None
    box: NDArray[np.int64] | None = None
    boxes: NDArray[np.int64] | None = None
    strokes: tuple[Stroke, ...] = ()
    seconds: float | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """What a model must take to be asked this."""
        held = {"points": self.points, "box": self.box, "boxes": self.boxes}
        return frozenset(
            {kind for kind, value in held.items() if value is not None} | {s.kind for s in self.strokes}
        )

    def prompt(self, name: str) -> Prompt:
        """As a prompt of its own."""
        return Prompt(name, self.box, self.points, self.labels, boxes=self.boxes, strokes=self.strokes)

    def effort(self, spacing: tuple[float, ...], slice_axis: int) -> Effort:
        """What it cost."""
        total = Effort()
        if self.points is not None:
            total += Effort.of_clicks(self.points, slice_axis)
        if self.box is not None:
            total += Effort.of_box(self.box, slice_axis)
        for box in () if self.boxes is None else self.boxes:
            total += Effort(boxes=1, slices=planes(box[:1], slice_axis))
        for stroke in self.strokes:
            total += Effort(
                lines=1, slices=planes(stroke.path, slice_axis), mm=path_length(stroke.path, spacing)
            )
        return total

    def outside(self, shape: tuple[int, ...]) -> str:
        """Why it cannot be given on an image of this shape; "" when it can."""
        corners = [self.points, self.box, *(() if self.boxes is None else self.boxes)]
        placed = [part for part in (*corners, *(stroke.path for stroke in self.strokes)) if part is not None]
        for part in placed:
            if part.shape[-1] != len(shape):
                return f"{part.shape[-1]} coordinates for an image of {len(shape)} axes"
        limits = np.array(shape)
        for part in (self.points, *(stroke.path for stroke in self.strokes)):
            if part is not None and ((part < 0) | (part >= limits)).any():
                return f"a voxel outside the image of {shape}"
        for box in (self.box, *(() if self.boxes is None else self.boxes)):
            if box is not None and ((box < 0) | (box > limits)).any():
                return f"a box outside the image of {shape}"
        return ""


@dataclass(frozen=True, eq=False)
class Recording:
    """All rounds of a file. sessions: (case, structure) -> annotator -> rounds in order."""

    path: Path
    sessions: Mapping[tuple[str, str], Mapping[str, tuple[RecordedRound, ...]]] = field(default_factory=dict)

    @property
    def annotators(self) -> tuple[str, ...]:
        """Everyone in the file, sorted: the number of an annotator is the ``sample`` of its records."""
        return tuple(sorted({name for people in self.sessions.values() for name in people}))

    def of(self, case: str, structure: str) -> Iterator[tuple[int, tuple[RecordedRound, ...]]]:
        """(number of the annotator, rounds) of everyone who worked on this structure of this case."""
        people = self.sessions.get((case, structure), {})
        for number, name in enumerate(self.annotators):
            if name in people:
                yield number, people[name]


def read_recording(path: Path) -> Recording:
    """Read a file of recorded prompts. Raises ``DatasetError`` naming the line and what is wrong with it."""
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"recorded prompts: {path} cannot be read: {error}") from error
    found: dict[tuple[str, str], dict[str, dict[int, RecordedRound]]] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                case, structure, annotator, round_, given = _line(line)
                people = found.setdefault((case, structure), {}).setdefault(annotator, {})
                if round_ in people:
                    raise ValueError(f"round {round_} of {case} / {structure} / {annotator!r} is there twice")
                people[round_] = given
            except (ValueError, TypeError, KeyError) as error:
                raise DatasetError(f"{path}:{number}: {error}") from error
    if not found:
        raise DatasetError(f"recorded prompts: {path} holds no line")
    sessions = {key: {name: _ordered(path, key, name, rounds) for name, rounds in people.items()}
                for key, people in found.items()}  # fmt: skip
    return Recording(Path(path), sessions)


def _ordered(
    path: Path, key: tuple[str, str], name: str, rounds: Mapping[int, RecordedRound]
) -> tuple[RecordedRound, ...]:
    if sorted(rounds) != list(range(1, len(rounds) + 1)):
        raise DatasetError(
            f"{path}: {key[0]} / {key[1]} / {name!r} has rounds {sorted(rounds)}; 1, 2, ... are expected"
        )
    return tuple(rounds[number] for number in sorted(rounds))


def _line(text: str) -> tuple[str, str, str, int, RecordedRound]:
    data = json.loads(text)
    if not isinstance(data, dict):
        raise ValueError(f"a JSON object is expected, not a {type(data).__name__}")
    if unknown := sorted(set(data) - _KEYS):
        raise ValueError(f"unknown key {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    for key in ("case", "structure", "round"):
        if key not in data:
            raise ValueError(f"the key {key!r} is missing")
    round_ = data["round"]
    if not isinstance(round_, int) or isinstance(round_, bool) or round_ < 1:
        raise ValueError(f"round is {round_!r}; a number from 1 is expected")
    given = _round(data)
    if not given.kinds:
        raise ValueError("nothing was given: clicks, box, boxes or strokes are expected")
    return str(data["case"]), str(data["structure"]), str(data.get("annotator", "")), round_, given


def _round(data: Mapping[str, Any]) -> RecordedRound:
    clicks = _integers("clicks", data.get("clicks"), 2)
    if clicks is not None and not np.isin(clicks[:, -1], (0, 1)).all():
        raise ValueError("clicks: the last number of each is its label, 1 on the structure or 0 beside it")
    box, boxes = _integers("box", data.get("box"), 2), _integers("boxes", data.get("boxes"), 3)
    if (box is not None and len(box) != 2) or (boxes is not None and boxes.shape[1] != 2):
        raise ValueError("a box is [[start...], [stop...]]")
    for one in (*(() if box is None else (box,)), *(() if boxes is None else boxes)):
        if (one[0] >= one[1]).any():
            raise ValueError(f"box {one.tolist()} is empty; stop is exclusive and must be larger than start")
    seconds = data.get("seconds")
    return RecordedRound(
        None if clicks is None else clicks[:, :-1],
        None if clicks is None else clicks[:, -1],
        box,
        boxes,
        tuple(_stroke(stroke) for stroke in data.get("strokes") or ()),
        None if seconds is None else float(seconds),
    )


def _stroke(data: Any) -> Stroke:
    if not isinstance(data, dict) or data.get("kind") not in _KINDS:
        raise ValueError(f"a stroke has a kind of {', '.join(_KINDS)} and a path, not {data!r:.80}")
    path, label = _integers("path", data.get("path"), 2), data.get("label", 1)
    if path is None or label not in (0, 1):
        raise ValueError("a stroke needs a path of voxels, and a label of 0 or 1")
    return Stroke(data["kind"], path, int(label))


def _integers(key: str, value: Any, ndim: int) -> NDArray[np.int64] | None:
    if value is None or value == []:
        return None
    array = np.asarray(value)
    if array.ndim != ndim or array.dtype.kind not in "iu":
        raise ValueError(
            f"{key} is {value!r:.80}; {'lists' if ndim == 2 else 'boxes'} of whole numbers are expected"
        )
    return array.astype(np.int64)
