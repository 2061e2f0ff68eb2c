"""Automatic segmentation: a label map for an image, no prompt. Also how other people's outputs are scored.

An nnU-Net folder, the ``predictions`` adapter and a promptable model then stand in one table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from medeval.metrics.label_maps import mask_pairs
from medeval.metrics.masks import MaskPair
from medeval.tasks.base import Scored, Task, ask_source, staged
from medeval.tasks.context import Context
from medeval.tasks.masks import MASK_COLUMNS, checked_mask, grid_of, mask_columns, mask_of, to_numpy
from medeval.tasks.pictures import mask_picture
from medeval.types import (
    Case,
    CaseFailure,
    CaseInfo,
    Failure,
    InfrastructureFailure,
    Key,
    LabelMap,
    MaskStack,
    ModelFailure,
    Output,
    Status,
    Structures,
)
from medeval.types.views import Picture


class AutomaticSegmentation(Task):
    """Mask metrics of a model that segments without prompts.

    The model: ``segment_image(image: Image, structures: Sequence[str])`` returning an integer array of the image's
    spatial shape in the dataset's own label values, or a mapping from structure name to mask. Every structure of the
    dataset's labelling is scored in every case: what each metric does when reference, prediction or both are empty is its
    own stated rule, kept on the record.
    """

    pair: ClassVar[type] = MaskPair
    protocol: ClassVar[str] = "segment_image(image, structures) -> label array, or {structure: mask}"
    methods: ClassVar[tuple[str, ...]] = ("segment_image",)
    needs: ClassVar[tuple[str, ...]] = ("image", "structures")
    columns: ClassVar[Mapping[str, str]] = MASK_COLUMNS
    score_version: ClassVar[int] = 2  # 2: the column voxel_ml

    task: Literal["segmentation"] = "segmentation"
    structures: tuple[str, ...] | None = Field(
        None, description="Only these structures; default: all.", json_schema_extra=staged("score")
    )
    metrics: tuple[str, ...] = Field(
        ("dice", "iou"), description="Metrics on masks.", json_schema_extra=staged("score")
    )

    def owed(self, case: Case, context: Context) -> Sequence[Key]:
        """Every structure of the labelling, present in this case or not."""
        return [Key(name) for name in self._wanted(case.reference["structures"].names)]

    def owed_unread(self, info: CaseInfo, context: Context) -> Sequence[Key]:
        """The same by the index or the dataset's labelling."""
        return [Key(name) for name in self._wanted(info.structures or context.structures)] or [Key()]

    def _wanted(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(n for n in names if self.structures is None or n.partition("#")[0] in self.structures)

    def predict(self, model: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """One call a case."""
        for case in cases:
            names = case.reference["structures"].names
            try:
                answer = context.call(
                    case.id, "segment_image", model.segment_image, case.inputs["image"], names
                )
                value = _as_structures(answer, case.reference["structures"])
            except InfrastructureFailure:
                raise
            except CaseFailure as error:
                yield Failure(case.id, None, error.status, str(error))
            else:
                yield Output(case.id, Key("*"), value)

    def replay(self, source: Any, cases: Iterable[Case], context: Context) -> Iterator[Output | Failure]:
        """The whole label map of a case at once."""
        for case in cases:
            yield ask_source(source, case, Key("*"), context)

    def score(self, case: Case, output: Output, context: Context) -> Sequence[Scored]:
        """Every owed structure of the label map, from one joint pass where both sides are label maps."""
        reference: Structures = case.reference["structures"]
        names = self._wanted(reference.names)
        lacking = [name for name in names if _not_covered(output.value, name)]
        pairs = _pairs(output.value, reference, [name for name in names if name not in lacking], case)
        return [*(Scored(Key(name), {}, status=Status.NOT_COVERED) for name in lacking)] + [
            Scored(
                Key(name),
                {metric.name: metric.observe(pair) for metric in self.bound_metrics},
                mask_columns(pair, None),
            )
            for name, pair in pairs.items()
        ]

    def worst_reference(self, case: Case, key: Key) -> Any:
        """The grid: a failed mask is as far off as the image is large."""
        return grid_of(case)

    def illustrate(self, case: Case, output: Output | None, key: Key) -> Picture | None:
        """Outlines of truth and prediction."""
        return mask_picture(case, output, key)


def _not_covered(prediction: Any, name: str) -> bool:
    """True when a label map's own labelling has no such structure; masks that were not given are empty."""
    return isinstance(prediction, LabelMap) and name not in prediction.labels


def _pairs(prediction: Any, reference: Structures, names: Sequence[str], case: Case) -> dict[str, MaskPair]:
    grid = grid_of(case)
    ignore = reference.ignored()
    if (
        isinstance(prediction, LabelMap)
        and isinstance(reference, LabelMap)
        and all(prediction.labels.get(name) == reference.labels[name] for name in names)
    ):
        labels = {name: reference.labels[name] for name in names}
        return dict(
            mask_pairs(prediction.array, reference.array, grid.spacing, labels, grid=grid, ignore=ignore)
        )
    return {
        name: MaskPair(
            _mask_or_empty(prediction, name, grid.shape), reference.mask(name), grid.spacing,
            structure=name.partition("#")[0], grid=grid, ignore=ignore,
        )
        for name in names
    }  # fmt: skip


def _mask_or_empty(value: Any, name: str, shape: tuple[int, ...]) -> Any:
    mask = mask_of(value, Key(name))
    return np.zeros(shape, dtype=bool) if mask is None else mask


def _as_structures(answer: Any, reference: Structures) -> Structures:
    """The model's answer as label map or masks. Raises ``ModelFailure`` saying what came and what would be right."""
    if isinstance(answer, Mapping):
        unknown = sorted(set(answer) - set(reference.names))
        if unknown:
            raise ModelFailure(
                f"masks for unknown structures {', '.join(unknown)}; asked for {', '.join(reference.names)}"
            )
        return MaskStack({n: checked_mask(m, reference.shape) for n, m in answer.items()}, reference.shape)
    array = to_numpy(answer.array if isinstance(answer, LabelMap) else answer)
    labels = answer.labels if isinstance(answer, LabelMap) else None
    if array.shape != reference.shape:
        raise ModelFailure(
            f"label map of shape {array.shape}, the image's spatial shape is {reference.shape}"
        )
    if array.dtype.kind not in "iub" or array.min(initial=0) < 0:
        raise ModelFailure(
            f"label map of {array.dtype}; integers >= 0 are expected (argmax belongs into the adapter)"
        )
    if labels is None and not isinstance(reference, LabelMap):
        raise ModelFailure("a label array for a dataset of separate masks; return {structure: mask}")
    return LabelMap(array, labels or reference.labels)  # type: ignore[union-attr]
