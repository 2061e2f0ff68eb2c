"""``shift``: any dataset of images as another domain, by a documented corruption of a stated severity.

```yaml
datasets:
  near: {format: nnunet, root: data/Dataset027_ACDC}
  far: {format: shift, of: {format: nnunet, root: data/Dataset027_ACDC}, corruption: gamma, severity: 3}
```

Shifts nest: what stands under ``of`` may be a shift itself. The corruptions and their ladders: docs/robustness.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.datasets.shifts import checked_corruption, corrupted, value_at
from medeval.plugins import absolute, build, resolve
from medeval.types import Case, CaseInfo, DataError, Image, PluginError, digest

GROUP = "medeval.datasets"


class Shift(Dataset):
    """The cases of another dataset with corrupted images; masks, grids, ids and patients are theirs.

    Draws are seeded by (``draw``, the case's id) and are the same at every severity. Case metadata gains ``corruption``,
    ``severity`` and ``value``. A file of Python under ``of`` (``my_reader.py:Mine``) is looked for beside the suite.
    """

    of: dict[str, Any] = Field(description="The dataset: {format: ..., its options}.")
    corruption: str = Field(description="inversion, gamma, gamma-bright, histogram, bias-field, noise, blur, "
                                        "ghosting, spike, resolution, motion.")  # fmt: skip
    severity: int = Field(3, ge=1, le=5, description="Of the corruption's ladder.")
    value: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="The corruption's parameter, in the place of the ladder's.",
    )
    draw: int = Field(0, description="Seed of what is drawn at random: another number, another bias field.")

    _known = field_validator("corruption")(checked_corruption)

    @field_validator("of")
    @classmethod
    def _buildable(cls, given: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """The entry with its paths as paths, so that relative ones are anchored where the suite lies."""
        base = (info.context or {}).get("base")
        try:
            inner = _built(given, base)
            reader = absolute(given["format"], base)
        except PluginError as error:
            raise ValueError(str(error)) from None
        found = {key: _with_paths(value, getattr(inner, key, value)) for key, value in given.items()}
        return {**found, "format": reader}

    @cached_property
    def inner(self) -> Dataset:
        """The dataset as it is."""
        return _built(self.of)

    @property
    def applied(self) -> float:
        """The corruption's parameter."""
        return value_at(self.corruption, self.severity) if self.value is None else self.value

    def scan(self) -> Sequence[CaseInfo]:
        """The inner dataset's own selection, in its order."""
        told = {"corruption": self.corruption, "severity": self.severity, "value": self.applied}
        return [
            CaseInfo(info.id, info.patient, {**info.metadata, **told}, info.structures)
            for info in self.inner.index
        ]

    def looked_for(self) -> str:
        """As the inner dataset says it."""
        return self.inner.looked_for()

    @property
    def structures(self) -> tuple[str, ...]:
        """As the inner dataset's."""
        return self.inner.structures

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The inner dataset's files."""
        return self.inner.sources(case_id)

    def check(self) -> list[str]:
        """What is wrong with the inner dataset's cases."""
        return self.inner.check()

    def fingerprint(self, case_id: str) -> str:
        """Of the case as it is, and of what is done to it; the ladder's name for it counts for nothing."""
        parts = (self.corruption, self.applied, self.draw)
        return digest("shift", self.version, self.inner.fingerprint(case_id), *parts)

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """The inner case with its ``image`` corrupted. Raises ``DataError`` for a case without an image."""
        self.info(case_id)
        case = self.inner.read(case_id, fields)
        if "inputs" not in fields:
            return self.case(case_id, {}, case.reference, case.notes)
        image = case.inputs.get("image")
        if not isinstance(image, Image):
            held = ", ".join(case.inputs) or "nothing"
            raise DataError(f"{case_id}: a shift corrupts an `image`, and the case's inputs are {held}")
        changed = corrupted(image, self.corruption, self.applied, self.draw, case_id)
        return self.case(case_id, {**case.inputs, "image": changed}, case.reference, case.notes)

    @property
    def _what(self) -> str:
        return f"Shift of {self.of.get('format')}"


def _built(entry: Mapping[str, Any], base: Path | None = None) -> Dataset:
    """The dataset of an entry, its files beside ``base``. Raises ``PluginError`` for an entry that is none."""
    options = dict(entry)
    name = options.pop("format", None)
    if not isinstance(name, str):
        raise PluginError("give `format:` and its options, as for any dataset")
    cls = resolve(GROUP, name, base)
    if not (isinstance(cls, type) and issubclass(cls, Dataset)):
        raise PluginError(f"format {name!r} is no dataset")
    return build(cls, options, base)


def _with_paths(plain: Any, read: Any) -> Any:
    """``plain`` with each text that was read as a ``Path`` in its place, and the reader of a nested shift as it was found."""
    if isinstance(read, Path):
        return Path(plain)
    if isinstance(plain, Mapping) and isinstance(read, Mapping):
        found = {key: _with_paths(value, read.get(key)) for key, value in plain.items()}
        return {**found, **({"format": read["format"]} if "format" in found and "format" in read else {})}
    return plain
