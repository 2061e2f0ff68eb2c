"""The oracle: returns the truth. The ceiling of every table, and the first test of a data set and a metric."""

from __future__ import annotations

from typing import ClassVar

from medeval.types import Case, DataError, Key, ModelFailure, Segmentation, Structures, nearest


class Oracle:
    """An output source: it sees the whole case, reference included, as no model may."""

    source: ClassVar[bool] = True
    baseline: ClassVar[bool] = True
    description: ClassVar[str] = "the reference itself: the ceiling"

    def output(self, case: Case, key: Key) -> Segmentation | Structures:
        """The reference mask of ``key.structure``; all structures at once for ``*``.

        Raises ``DataError`` when the case was read without its reference, ``ModelFailure`` for an unknown structure.
        """
        structures = case.reference.get("structures")
        if structures is None:
            raise DataError(f"case {case.id}: the oracle needs the reference, which was not read")
        if key.structure == "*":
            return structures
        if key.structure not in structures.names:
            raise ModelFailure(
                f"case {case.id}: no structure {key.structure!r}; {nearest(key.structure, structures.names)}"
            )
        return Segmentation(structures.mask(key.structure))
