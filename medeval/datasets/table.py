"""``table``: one row a case, from CSV, TSV, Parquet or JSON lines, with a mapping of columns.

For images with masks (``inputs: {image: path}``, ``reference: {structures: mask}``) and for anything else that fits a row:
``inputs: {text: report}``, ``reference: {label: y_true}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from medeval.datasets.base import BOTH, FieldName, ImagingDataset
from medeval.datasets.images import as_binary, join_notes, read_grid, read_image, read_mask_like
from medeval.datasets.labels import Labelling, parse_labels
from medeval.datasets.paths import inside
from medeval.datasets.rows import read_rows
from medeval.types import Case, CaseInfo, DataError, DatasetError, Grid, MaskStack, nearest

IMAGE, STRUCTURES = "image", "structures"
Row = Mapping[str, Any]


class TableDataset(ImagingDataset):
    """Field names of a case -> columns of the table.

    Two names are files: ``inputs: {image: COLUMN}`` (or a list of columns: channels) is read as an image, and
    ``reference: {structures: COLUMN}`` as a mask: a label map with ``labels``, else binary and called ``structure``;
    ``structures: {liver: COLUMN_A, spleen: COLUMN_B}`` are binary masks of those names. Paths are relative to the table's
    folder (or ``root``) and must stay inside it. All other names take the column's value as it is. Columns that are not
    mapped become metadata; a column ``split`` serves the option ``split``.
    """

    selecting: ClassVar[frozenset[str]] = ImagingDataset.selecting | {
        "file",
        "root",
        "id",
        "patient",
        "allow_outside",
    }

    file: Path = Field(description="The table: .csv, .tsv, .parquet or .jsonl.")
    root: Path | None = Field(None, description="Folder that paths are relative to; default: the table's.")
    id: str | None = Field(None, description="Column of the case id; default: row0001, row0002, ...")
    patient: str | None = Field(None, description="Column of the patient.")
    inputs: Mapping[str, str | tuple[str, ...]] = Field(
        default_factory=dict, description="Field -> column: what models see."
    )
    reference: Mapping[str, str | Mapping[str, str]] = Field(
        default_factory=dict, description="Field -> column: the truth."
    )
    labels: Mapping[str, int | tuple[int, ...]] | None = Field(
        None, description="Names of the values in `structures`."
    )
    structure: str = Field("foreground", description="Name of the structure of binary masks.")
    allow_outside: bool = Field(
        False, description="Permit paths that are absolute, climb, or lead out by a link."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.inputs and not self.reference:
            raise ValueError(
                "name at least one column, for example inputs: {image: path}, reference: {structures: mask}"
            )
        for part, mapping in (("inputs", self.inputs), ("reference", self.reference)):
            for name, column in mapping.items():
                if not isinstance(column, str) and (part, name) not in (
                    ("inputs", IMAGE),
                    ("reference", STRUCTURES),
                ):
                    raise ValueError(f"{part}: {name}: takes one column, not {column!r}")
        if STRUCTURES in self.reference and IMAGE not in self.inputs:
            raise ValueError("reference: structures need `inputs: {image: COLUMN}`, whose grid they lie on")
        if self.labels is not None:
            parse_labels(self.labels, "labels")
        return self

    def scan(self) -> Sequence[CaseInfo]:
        """Cases in the table's order."""
        self._check_columns()
        return [
            CaseInfo(case_id, self._patient(case_id, row), self._rest(row), self._known())
            for case_id, row in self._rows.items()
        ]

    def looked_for(self) -> str:
        """What an empty dataset's message says."""
        return f"rows in {self.file}"

    @property
    def structures(self) -> tuple[str, ...]:
        """Names of ``labels``, of the mask columns, or the one structure; () without masks."""
        return tuple(self._labelling.structures) if self._labelling else self._known()

    def sources(self, case_id: str) -> Mapping[str, Path]:
        """``image COLUMN`` and ``mask NAME`` -> file."""
        return {
            **{f"image {column}": self._path(case_id, column) for column in self._image_columns},
            **{f"mask {name}": self._path(case_id, column) for name, column in self._mask_columns.items()},
        }

    def reading(self, case_id: str) -> Any:
        """The row's mapped values; where files lie is not part of what they hold."""
        row = self._row(case_id)
        return {
            part: {name: row.get(column) for name, column in self._plain(mapping).items()}
            for part, mapping in (("inputs", self.inputs), ("reference", self.reference))
        }

    def check(self) -> list[str]:
        """Missing files, and empty cells that are mapped."""
        problems = super().check()
        for case in self.index:
            try:
                self._values(case.id, {**self.inputs, **self.reference})
            except DataError as error:
                problems.append(f"{case.id}: {error}")
        return problems

    def read(self, case_id: str, fields: Sequence[FieldName] = BOTH) -> Case:
        """Inputs and reference by the mapping; ``DataError`` for an empty cell that is mapped."""
        inputs, reference, notes = {}, {}, []
        if "inputs" in fields:
            inputs = self._values(case_id, self.inputs)
            if self._image_columns:
                paths = [self._path(case_id, column) for column in self._image_columns]
                inputs[IMAGE], note = read_image(paths, self.on_nonfinite, self.on_grid_mismatch)
                notes.append(note)
        if "reference" in fields:
            reference = self._values(case_id, self.reference)
            if self._mask_columns:
                grid = (
                    inputs[IMAGE].grid if inputs else read_grid(self._path(case_id, self._image_columns[0]))
                )
                reference[STRUCTURES], note = self._read_structures(case_id, grid)
                notes.append(note)
        return self.case(case_id, inputs, reference, join_notes(*notes))

    def _read_structures(self, case_id: str, grid: Grid) -> tuple[Any, str]:
        masks, notes = {}, []
        for name, column in self._mask_columns.items():
            path = self._path(case_id, column)
            array, note = read_mask_like(path, grid, self.on_grid_mismatch)
            notes.append(note)
            if self._labelling is not None:
                return self._labelling.label_map(array, path), note
            masks[name] = as_binary(array, path)
        return MaskStack(masks, grid.shape), join_notes(*notes)

    # Columns

    @property
    def _image_columns(self) -> tuple[str, ...]:
        column = self.inputs.get(IMAGE, ())
        return (column,) if isinstance(column, str) else tuple(column)

    @property
    def _mask_columns(self) -> dict[str, str]:
        column = self.reference.get(STRUCTURES, {})
        return {self.structure: column} if isinstance(column, str) else dict(column)

    @staticmethod
    def _plain(mapping: Mapping[str, Any]) -> dict[str, str]:
        return {name: column for name, column in mapping.items() if name not in (IMAGE, STRUCTURES)}

    @cached_property
    def _used(self) -> list[str]:
        plain = [*self._plain(self.inputs).values(), *self._plain(self.reference).values()]
        named = [column for column in (self.id, self.patient) if column]
        return [*named, *self._image_columns, *self._mask_columns.values(), *plain]

    def _check_columns(self) -> None:
        columns = {name for row in self._rows.values() for name in row}
        for column in self._used:
            if self._rows and column not in columns:
                raise DatasetError(f"{self.file}: no column {column!r}; {nearest(column, columns)}")

    # Rows

    @cached_property
    def _rows(self) -> dict[str, Row]:
        rows = read_rows(self.file, as_text=[column for column in (self.id, self.patient) if column])
        width = max(4, len(str(len(rows))))
        named: dict[str, Row] = {}
        for number, row in enumerate(rows, start=1):
            value = f"row{number:0{width}d}" if self.id is None else row.get(self.id)
            if value is None or str(value) == "":
                raise DatasetError(f"{self.file}: row {number} has no value in the id column {self.id!r}")
            if str(value) in named:
                raise DatasetError(
                    f"{self.file}: case id {str(value)!r} occurs more than once; again in row {number}"
                )
            named[str(value)] = row
        return named

    @cached_property
    def _labelling(self) -> Labelling | None:
        return None if self.labels is None else parse_labels(self.labels, "labels")

    def _row(self, case_id: str) -> Row:
        self.info(case_id)
        return self._rows[case_id]

    def _known(self) -> tuple[str, ...]:
        return () if self.labels is not None else tuple(self._mask_columns)

    def _patient(self, case_id: str, row: Row) -> str | None:
        if self.patient is None:
            return None
        if row.get(self.patient) is None:
            raise DatasetError(
                f"{self.file}: case {case_id!r} has no value in the patient column {self.patient!r}"
            )
        return str(row[self.patient])

    def _rest(self, row: Row) -> dict[str, Any]:
        used = set(self._used)
        return {
            k: v for k, v in row.items() if k not in used and v is not None and not isinstance(v, list | dict)
        }

    def _values(self, case_id: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
        row = self._row(case_id)
        return {name: self._cell(case_id, row, column) for name, column in self._plain(mapping).items()}

    def _cell(self, case_id: str, row: Row, column: str) -> Any:
        if row.get(column) is None:
            raise DataError(f"{self.file}: case {case_id!r} has no value in column {column!r}")
        return row[column]

    def _path(self, case_id: str, column: str) -> Path:
        entry = str(self._cell(case_id, self._row(case_id), column))
        return inside(self.root or self.file.parent, entry, self.file, allow_outside=self.allow_outside)
