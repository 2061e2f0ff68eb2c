"""``skimage``: medical and microscopy pictures that scikit-image's wheel carries, with a rule-made reference.

Real pictures without a download: ``cell`` (quantitative phase), ``ihc`` (immunohistochemistry, brown DAB and blue
haematoxylin), ``microaneurysms`` (retina, a small part) and ``retina`` (fundus photograph). **The reference is silver**: no
expert drew it, the rules of ``skimage_rules`` made it from the pictures' own intensities, which favours methods that follow
intensity. It serves demonstrations and tests of the machinery; do not quote its scores as evidence about a model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from medeval.datasets.base import BOTH, Dataset, FieldName
from medeval.datasets.images import read_grid, read_image
from medeval.datasets.pictures import plain_grid
from medeval.datasets.skimage_rules import RULES
from medeval.types import Case, CaseInfo, DatasetError, Image, MaskStack

Name = Literal["cell", "ihc", "microaneurysms", "retina"]
_FILES = {
    "cell": "cell.png",
    "ihc": "ihc.png",
    "microaneurysms": "microaneurysms.png",
    "retina": "retina.jpg",
}
_MODALITY = {"cell": "Microscopy", "ihc": "Histopathology", "microaneurysms": "Fundus", "retina": "Fundus"}
_TEXTURES = ("ihc", "retina")  # the others hold one thing: tiles of them would be background
_SMALLEST = 20  # pixels; of a structure that a tile's border cuts


class SkimageSamples(Dataset):
    """Whole pictures, or square tiles of the two large ones (``ihc``, ``retina``) so that there are more cases.

    Each picture is its own "patient": tiles of one picture are not independent. Distances are in pixels. In a tile a
    structure counts when at least 20 of its pixels are inside.
    """

    selecting: ClassVar[frozenset[str]] = Dataset.selecting | {"pictures"}

    pictures: tuple[Name, ...] = Field(
        ("cell", "ihc", "microaneurysms", "retina"), description="Which pictures."
    )
    tile: int | None = Field(
        None, ge=32, description="Edge in pixels of the tiles of ihc and retina; unset: whole pictures."
    )
    instances: Literal["separate", "merged"] = Field(
        "separate", description="Nuclei and microaneurysms: one record each (`nucleus#3`), or united."
    )

    def scan(self) -> Sequence[CaseInfo]:
        """Pictures in the order given, tiles row by row; remainders at the right and lower border are left out."""
        return [
            CaseInfo(
                name if corner is None else f"{name}_{corner[0]:04d}_{corner[1]:04d}",
                name,
                {"modality": _MODALITY[name], "picture": name}
                | ({} if corner is None else {"row": corner[0], "column": corner[1]}),
            )
            for name in dict.fromkeys(self.pictures)
            for corner in self._corners(name)
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"tiles of {self.tile} pixels in {', '.join(self.pictures) or 'no picture'}"

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """The picture."""
        return {"image": _path(self.info(case_id).metadata["picture"])}

    def reading(self, case_id: str) -> Any:
        """The reference is computed: another scikit-image may compute another."""
        return version("scikit-image")

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs ``image`` (1 or 3, row, column) uint8; reference ``structures``: ``MaskStack``."""
        where = self.info(case_id).metadata
        window = self._window(where)
        array = np.ascontiguousarray(_picture(where["picture"])[(slice(None), *window)])
        grid = plain_grid(array.shape[1:])
        inputs = {"image": Image(array, grid)} if "inputs" in fields else {}
        reference = {}
        if "reference" in fields:
            whole = _reference(where["picture"])
            cut = {name: np.ascontiguousarray(mask[window]) for name, mask in whole.items()}
            masks = {name: mask for name, mask in cut.items() if np.count_nonzero(mask) >= _SMALLEST}
            masks = masks if self.instances == "separate" else _merged(masks)
            reference["structures"] = MaskStack(masks, grid.shape)
        return self.case(case_id, inputs, reference)

    def _corners(self, name: str) -> Iterator[tuple[int, int] | None]:
        if self.tile is None or name not in _TEXTURES:
            yield None
            return
        rows, columns = read_grid(_path(name)).shape
        for row in range(0, rows - self.tile + 1, self.tile):
            for column in range(0, columns - self.tile + 1, self.tile):
                yield row, column

    def _window(self, where: Mapping[str, Any]) -> tuple[slice, slice]:
        if self.tile is None or "row" not in where:
            return slice(None), slice(None)
        return slice(where["row"], where["row"] + self.tile), slice(
            where["column"], where["column"] + self.tile
        )


def _merged(masks: Mapping[str, NDArray[np.bool_]]) -> dict[str, NDArray[np.bool_]]:
    united: dict[str, NDArray[np.bool_]] = {}
    for name, mask in masks.items():
        base = name.partition("#")[0]
        united[base] = united[base] | mask if base in united else mask
    return united


def _path(name: str) -> Path:
    """The picture's file; found without importing scikit-image."""
    spec = find_spec("skimage")
    path = (
        Path((spec.submodule_search_locations or [""])[0]) / "data" / _FILES[name]
        if spec
        else Path(_FILES[name])
    )
    if not path.is_file():
        raise DatasetError(
            f"skimage: {path.name} is not in this scikit-image; it comes with scikit-image 0.23 to 0.26"
        )
    return path


@lru_cache(maxsize=4)
def _picture(name: str) -> NDArray[np.uint8]:
    """(C, row, column), read-only."""
    array = read_image(_path(name)).image.array
    array.setflags(write=False)
    return array


@lru_cache(maxsize=4)
def _reference(name: str) -> dict[str, NDArray[np.bool_]]:
    """Masks of the whole picture: computed once a process, for tiles are cut from them."""
    picture = _picture(name)
    return RULES[name](picture[0] if picture.shape[0] == 1 else np.moveaxis(picture, 0, -1))
