"""What ``medeval dataset stats|check`` can open: each layout counts its cases, describes itself and finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from pydantic import ValidationError

from medeval.datasets.building.findings import Finding, Findings
from medeval.datasets.building.sa_med3d.opening import is_layout, open_splits
from medeval.datasets.building.statistics_views import Chapter
from medeval.datasets.sa_med2d import SAMed2D
from medeval.types import DatasetError

Tick = Callable[[bool], None]
Tell = Callable[[Finding], None]


class Layout(Protocol):
    """A data set of one layout."""

    def count(self) -> int:
        """Cases that ``stats`` looks at."""

    def entries(self) -> int:
        """Cases that ``check`` looks at."""

    def described(self, sample: int, threads: int, tick: Tick) -> list[Chapter]:
        """The statistics as a page; ``sample`` images are read."""

    def checked(self, quick: bool, min_area: float, threads: int, tell: Tell, tick: Tick) -> Findings:
        """Everything that is wrong."""


class FlatPictures:
    """SA-Med2D-20M: pictures and an index."""

    def __init__(self, dataset: SAMed2D) -> None:
        self._dataset = dataset

    def count(self) -> int:
        """Images of the index, as selected."""
        return len(self._dataset.index)

    def entries(self) -> int:
        """Entries of the index."""
        return len(self._dataset.entries)

    def described(self, sample: int, threads: int, tick: Tick) -> list[Chapter]:
        """See ``building.statistics``."""
        from medeval.datasets.building.statistics import statistics
        from medeval.datasets.building.statistics_views import chapters

        return chapters(statistics(self._dataset, sample, threads=threads, tick=tick))

    def checked(self, quick: bool, min_area: float, threads: int, tell: Tell, tick: Tick) -> Findings:
        """See ``building.inspection``."""
        from medeval.datasets.building.inspection import inspect

        return inspect(self._dataset, quick=quick, min_area=min_area, threads=threads, found=tell, tick=tick)


class FoldersOfStructures:
    """SAM-Med3D: a folder a structure, volumes below."""

    def __init__(self, root: Path, patient: str | None) -> None:
        self._splits = open_splits(root, patient)

    def count(self) -> int:
        """Volumes of all splits."""
        return sum(len(dataset.index) for dataset in self._splits.values())

    entries = count

    def described(self, sample: int, threads: int, tick: Tick) -> list[Chapter]:
        """See ``building.sa_med3d.statistics``."""
        from medeval.datasets.building.sa_med3d.statistics import statistics
        from medeval.datasets.building.sa_med3d.views import chapters

        return chapters(statistics(self._splits, sample, threads=threads, tick=tick))

    def checked(self, quick: bool, min_area: float, threads: int, tell: Tell, tick: Tick) -> Findings:
        """See ``building.sa_med3d.inspection``. ``DatasetError`` for ``min_area``, which is of pictures."""
        from medeval.datasets.building.sa_med3d.inspection import inspect

        if min_area:
            raise DatasetError(
                "--min-area is a share of a picture (SA-Med2D); small masks of volumes are told by `medeval dataset stats`"
            )
        return inspect(self._splits, quick=quick, threads=threads, found=tell, tick=tick)


def open_layout(root: Path, patient: str | None = None) -> Layout:
    """What lies in a folder or archive, by what it holds. Raises ``DatasetError``."""
    given = {"root": root, **({"patient_id": patient} if patient else {})}
    try:
        if is_layout(root):
            return FoldersOfStructures(root, patient)
        return FlatPictures(SAMed2D.model_validate(given))
    except ValidationError as error:
        raise DatasetError("; ".join(said(e) for e in error.errors())) from error


def said(error: object) -> str:
    """A mistake of pydantic's in the words of the command line."""
    assert isinstance(error, dict)
    where = "--" + str(error["loc"][0]).replace("_", "-") if error["loc"] else "options"
    given = f", not {error['input']!r}" if error["loc"] else ""
    return f"{where}: {error['msg']}{given}"
