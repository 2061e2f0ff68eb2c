"""Other people's outputs: a folder of label maps or masks, matched to the cases by id."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from medeval.datasets.fingerprints import file_digest
from medeval.datasets.grids import OnGridMismatch
from medeval.datasets.images import as_binary, join_notes, read_mask_like
from medeval.datasets.labels import Labelling, parse_labels
from medeval.datasets.paths import IMAGES, existing_folder, inside, stem_of, suffix_of
from medeval.types import (
    Capabilities,
    Case,
    CaseInfo,
    DataError,
    Failure,
    Grid,
    Key,
    LabelMap,
    MaskStack,
    ModelFailure,
    Output,
    PluginError,
    Segmentation,
    Status,
    Structures,
)


class Predictions:
    """An output source that reads what some model left in a folder.

    One file a case holds a label map (the data set's own values, or ``labels``); with ``{structure}`` in the pattern, one
    file a structure holds a mask. Any image suffix is tried where the pattern's own is not there.
    """

    source: ClassVar[bool] = True
    by_case: ClassVar[tuple[str, ...]] = ("root",)
    takes: ClassVar[Capabilities] = Capabilities(prompts=frozenset())
    baseline: ClassVar[bool] = False
    description: ClassVar[str] = "a folder of NIfTI or PNG predictions, matched by case id"

    def __init__(
        self,
        root: Path,
        pattern: str = "{id}.nii.gz",
        labels: dict[str, int | list[int]] | None = None,
        on_grid_mismatch: OnGridMismatch = "error",
    ) -> None:
        """root: the folder. pattern: file of a case below it; ``{id}`` and, if wanted, ``{structure}`` are filled in.

        labels: structure -> its value or values in these files. on_grid_mismatch: for files on another grid than the image.
        Raises ``DatasetError`` when there is no such folder, ``PluginError`` for a pattern without ``{id}``.
        """
        self.root = existing_folder(Path(root))
        if "{id}" not in pattern or re.search(r"[{}]", re.sub(r"\{(id|structure)\}", "", pattern)):
            raise PluginError(
                f"pattern: {pattern!r} must hold {{id}} and may hold {{structure}}, no other braces"
            )
        self.pattern = pattern
        self.labelling = parse_labels(labels, "labels") if labels else None
        self.on_grid_mismatch = on_grid_mismatch
        self._last: tuple[str, Structures, str] | None = (
            None  # one case is asked for structure after structure
        )

    def check(self, case_ids: Iterable[str]) -> tuple[list[str], list[str]]:
        """(ids without any file, files below the root that belong to none of the ids), both in order."""
        found = {path: self._id_of(path) for path in sorted(self.root.rglob("*")) if _is_image(path)}
        wanted, held = list(case_ids), set(found.values())
        extra = [
            str(path.relative_to(self.root)) for path, case_id in found.items() if case_id not in set(wanted)
        ]
        return [case_id for case_id in wanted if case_id not in held], extra

    def answer_identity(self, case: CaseInfo) -> list[Any] | None:
        """Names and digests of the files that the case is answered from, None where there are none.

        With one file a structure and no word of which structures a case has, all files of the folder.
        """
        names = case.structures if "{structure}" in self.pattern else ("",)
        try:
            found = [path for name in names if (path := self._file(case.id, name)) is not None]
        except DataError as error:  # the id leads out of the folder: ``output`` says so
            return [str(error)]
        files = found if names else sorted(path for path in self.root.rglob("*") if _is_image(path))
        return [[p.relative_to(self.root).as_posix(), file_digest(p)] for p in files] or None

    def output(self, case: Case, key: Key) -> Segmentation | Structures | Output | Failure:
        """The mask of ``key.structure``, or all structures for ``*``; an ``Output`` when reading changed something.

        Raises ``ModelFailure`` for a file that is missing, broken or on another grid; answers ``not_covered`` for a
        structure that ``labels`` does not name.
        """
        structures, notes = self._read(case)
        if key.structure != "*" and key.structure not in structures.names:
            return Failure(
                case.id, key, Status.NOT_COVERED, f"the predictions have no structure {key.structure!r}"
            )
        value = structures if key.structure == "*" else Segmentation(structures.mask(key.structure))
        return (
            Output(case.id, key, value, columns={"notes": join_notes(case.notes, notes)}) if notes else value
        )

    def _read(self, case: Case) -> tuple[Structures, str]:
        last = self._last
        if last is None or last[0] != case.id:
            read = self._read_masks if "{structure}" in self.pattern else self._read_label_map
            try:
                structures, notes = read(case, case.inputs["image"].grid)
            except DataError as error:
                raise ModelFailure(f"prediction cannot be used: {error}") from error
            last = self._last = (case.id, structures, notes)
        return last[1], last[2]

    def _read_label_map(self, case: Case, grid: Grid) -> tuple[Structures, str]:
        path = self._file(case.id)
        if path is None:
            raise ModelFailure(f"no prediction {self._name(case.id)} in {self.root}")
        array, notes = read_mask_like(path, grid, self.on_grid_mismatch)
        labelling = self._labelling_for(case)
        if isinstance(labelling, str):
            return MaskStack({labelling: as_binary(array, path)}, grid.shape), notes
        if list(labelling.structures.values()) == [(1,)] and array.max(initial=0) == 255:
            array = array // 255  # a picture of one structure, drawn in black and white
        return labelling.label_map(array, path), notes

    def _read_masks(self, case: Case, grid: Grid) -> tuple[Structures, str]:
        names = case.reference["structures"].names
        files = {name: self._file(case.id, name) for name in names}
        if not any(files.values()):
            raise ModelFailure(
                f"no prediction {self._name(case.id, names[0] if names else '*')} in {self.root}"
            )
        masks, notes = {}, []
        for name, path in files.items():
            if path is not None:
                array, note = read_mask_like(path, grid, self.on_grid_mismatch)
                masks[name] = as_binary(array, path)
                notes.append(note)
        return MaskStack(masks, grid.shape), join_notes(*notes)

    def _labelling_for(self, case: Case) -> Labelling | str:
        """Structure -> values in these files; the structure's name alone where the reference is one plain mask."""
        reference = case.reference.get("structures")
        if self.labelling is not None:
            return self.labelling
        if isinstance(reference, LabelMap):
            return Labelling(reference.labels, reference.ignore)
        if reference is not None and len(reference.names) == 1:
            return reference.names[0]
        raise PluginError(
            "predictions: the references are separate masks, so the values in the prediction files have no names; give "
            "`labels: {liver: 1, spleen: 2}`, or one file a structure by `pattern: '{id}/{structure}.nii.gz'`"
        )

    def _file(self, case_id: str, structure: str = "") -> Path | None:
        """The file of a case: the pattern's own suffix first, then every other that images have."""
        own = Path(self._name(case_id, structure))
        stem = str(own.with_name(stem_of(own))) if suffix_of(own) in IMAGES else str(own)
        for name in [str(own), *(stem + suffix for suffix in IMAGES)]:
            if (self.root / name).is_file() and suffix_of(Path(name)) in IMAGES:
                return inside(self.root, name, self.root)  # resolves links, so only what is there is asked
        return None

    def _name(self, case_id: str, structure: str = "") -> str:
        return self.pattern.replace("{id}", case_id).replace("{structure}", structure)

    def _id_of(self, path: Path) -> str | None:
        """The case that a file belongs to by the pattern, whatever its suffix; None when it does not fit the pattern."""
        own = Path(self.pattern)
        stem = self.pattern[: -len(suffix_of(own))] if suffix_of(own) in IMAGES else self.pattern
        expression = re.escape(stem).replace(r"\{id\}", "(?P<id>.+)", 1).replace(r"\{structure\}", "[^/]+")
        expression = expression.replace(r"\{id\}", "(?P=id)")
        relative = path.relative_to(self.root)
        fit = re.fullmatch(expression, relative.with_name(stem_of(relative)).as_posix())
        return fit["id"] if fit else None


def _is_image(path: Path) -> bool:
    return suffix_of(path) in IMAGES and not path.name.startswith(".") and path.is_file()
