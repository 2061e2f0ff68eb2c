"""What a prompt setting gives in round 1, where it is more than the first click, and what that costs the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medeval.interaction.drawing import (
    BoxRule,
    PointRule,
    draw_points,
    jittered_box,
    largest_component,
    middle_slice_box,
    mixed_points,
    tight_box,
)
from medeval.interaction.effort import Effort, path_length, planes
from medeval.interaction.settings import PromptSetting
from medeval.interaction.slices import (
    boxes_on,
    held_slices,
    interpolated_boxes,
    interpolated_points,
    points_on,
    seed_slices,
)
from medeval.interaction.strokes import box_of_line, lasso, points_along, recist_line, scribble
from medeval.types import EvaluatorFailure, Prompt, Stroke


@dataclass(frozen=True, eq=False)
class Scene:
    """What a user looks at. truth: bool, the structure; spacing: voxel edge lengths; slice_axis: along which slices lie."""

    truth: NDArray[np.bool_]
    spacing: tuple[float, ...]
    slice_axis: int = -1
    box_rule: BoxRule = "whole"
    point_rule: PointRule = "on-structure"


Opened = tuple[Prompt, Effort]


def opening(setting: PromptSetting, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    """The prompt of round 1 and its effort; name: the structure's. Raises ``EvaluatorFailure`` on an empty structure."""
    if setting.mask:
        return Prompt(name, mask=scene.truth), Effort()
    if setting.box:
        return _box(setting, scene, name, rng)
    if setting.points:
        return _points(setting.points, scene, name, rng)
    if setting.dimensions == {3} and scene.truth.ndim != 3:
        raise EvaluatorFailure(f"`{setting.opening}` is drawn on the slices of a volume; this is a picture")
    return _DRAWN[setting.drawn](setting.number, scene, name, rng)


def _box(setting: PromptSetting, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    boxed = largest_component(scene.truth) if scene.box_rule == "largest-component" else scene.truth
    box = jittered_box(boxed, rng, setting.jitter) if setting.jitter else tight_box(boxed)
    return Prompt(name, box=box), Effort.of_box(box, scene.slice_axis)


def _points(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    if scene.point_rule == "sam-med2d":
        points, labels = mixed_points(scene.truth, n, rng)
    else:
        points = draw_points(scene.truth, n, rng)
        labels = np.ones(len(points), dtype=np.int64)
    return Prompt(name, points=points, labels=labels), Effort.of_clicks(points, scene.slice_axis)


def _slice_points(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    axis = scene.slice_axis
    clicked = points_on(scene.truth, seed_slices(scene.truth, n, axis), axis)
    return _clicked(name, interpolated_points(clicked, axis), Effort.of_clicks(clicked, axis))


def _slice_boxes(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    axis = scene.slice_axis
    drawn = seed_slices(scene.truth, n, axis)
    boxes = interpolated_boxes(boxes_on(scene.truth, drawn, axis), axis)
    return Prompt(name, boxes=boxes), _on_slices(drawn)


def _point_per_slice(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    axis = scene.slice_axis
    clicked = points_on(scene.truth, held_slices(scene.truth, axis), axis)
    return _clicked(name, clicked, Effort.of_clicks(clicked, axis))


def _box_per_slice(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    drawn = held_slices(scene.truth, scene.slice_axis)
    return Prompt(name, boxes=boxes_on(scene.truth, drawn, scene.slice_axis)), _on_slices(drawn)


def _middle_box(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    box = middle_slice_box(scene.truth, rng, scene.slice_axis)
    held = held_slices(scene.truth, scene.slice_axis)
    looked = frozenset(int(z) for z in (held[0], held[len(held) // 2], held[-1]))
    return Prompt(name, box=box), Effort(boxes=1, slices=looked)


def _recist_line(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    line, effort = _measured(scene)
    return Prompt(name, strokes=(Stroke("line", line),)), effort


def _recist_box(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    line, effort = _measured(scene)
    return Prompt(name, box=box_of_line(line)), effort


def _recist_points(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    line, effort = _measured(scene)
    return _clicked(name, points_along(line, n), effort)


def _lasso(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    path = lasso(scene.truth, scene.slice_axis)
    return Prompt(name, strokes=(Stroke("lasso", path),)), stroke_effort(
        np.vstack([path, path[:1]]), scene.spacing, scene.slice_axis
    )


def _scribble(n: int, scene: Scene, name: str, rng: np.random.Generator) -> Opened:
    path = scribble(scene.truth, scene.slice_axis)
    return Prompt(name, strokes=(Stroke("scribble", path),)), stroke_effort(
        path, scene.spacing, scene.slice_axis
    )


_DRAWN: Mapping[str, Callable[[int, Scene, str, np.random.Generator], Opened]] = {
    "slice points": _slice_points,
    "slice boxes": _slice_boxes,
    "point per slice": _point_per_slice,
    "box per slice": _box_per_slice,
    "middle box": _middle_box,
    "recist line": _recist_line,
    "recist box": _recist_box,
    "recist points": _recist_points,
    "lasso": _lasso,
    "scribble": _scribble,
}


def stroke_effort(path: NDArray[np.int64], spacing: tuple[float, ...], slice_axis: int) -> Effort:
    """One line of this length, in the spacing's unit."""
    return Effort(lines=1, slices=planes(path, slice_axis), mm=path_length(path, spacing))


def _measured(scene: Scene) -> tuple[NDArray[np.int64], Effort]:
    line = recist_line(scene.truth, scene.spacing, scene.slice_axis)
    return line, stroke_effort(line, scene.spacing, scene.slice_axis)


def _clicked(name: str, points: NDArray[np.int64], effort: Effort) -> Opened:
    return Prompt(name, points=points, labels=np.ones(len(points), dtype=np.int64)), effort


def _on_slices(drawn: NDArray[np.int64]) -> Effort:
    return Effort(boxes=len(drawn), slices=frozenset(int(z) for z in drawn))
