"""What is written when all volumes are done: the index, the class mapping, the sidecar, split files and the log.

Everything is a function of the parts (what is remembered of each finished volume), in the order of their names, and one
part is in memory at a time.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from medeval.datasets.building.archive import TOP, Members, adding_text
from medeval.datasets.building.files import replacing, told
from medeval.datasets.building.output import Output
from medeval.datasets.sa_med2d_files import CLASS_NAMES, RELEASE_INDEX, SIDECAR
from medeval.types import DatasetError, digest

LOG, DROPPED = "build_log.json", "dropped.jsonl"
SPLITS = ("train", "test")


@dataclass(frozen=True)
class SplitRule:
    """How ``image2label_train.json`` and ``image2label_test.json`` are made.

    by: ``patients`` puts a share ``test`` of each data set's patients (drawn by ``seed``) into the test part; ``source``
    keeps imagesTr and imagesTs apart; ``none`` writes no such files. Never by image: slices of one patient intersect.
    """

    by: Literal["patients", "source", "none"] = "patients"
    test: float = 0.2
    seed: int = 0


@dataclass(frozen=True)
class Summary:
    """What a build did. counts: of all finished volumes; built: volumes of this run; failures: volume -> reason."""

    folder: Path
    counts: Mapping[str, int]
    by_dataset: Mapping[str, Mapping[str, int]]
    failures: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())
    built: int = 0


@dataclass(frozen=True)
class _Head:
    """What of a part stays in memory: its key, and the beginnings of its images' names."""

    key: str
    dataset: str
    patient: str
    split: str
    modalities: tuple[str, ...]
    fingerprint: str


def finish(
    output: Output, split: SplitRule, failures: Mapping[str, str], notes: tuple[str, ...], built: int
) -> Summary:
    """Write everything but the pictures; with an archive, put that together. Raises ``DatasetError``."""
    counts: dict[str, Counter[str]] = {}
    classes: dict[str, dict[str, str]] = {}
    options: dict[str, list[Any]] = {}
    heads = []
    for key, part in _parts(output):
        heads.append(
            _Head(
                key,
                part["dataset"],
                part["patient"],
                part["split"],
                tuple(part["modalities"]),
                part["fingerprint"],
            )
        )
        counts.setdefault(part["dataset"], Counter()).update(part["counts"])
        _same_classes(classes, part, output.folder)
        if part["options"] not in options.setdefault(part["dataset"], []):
            options[part["dataset"]].append(part["options"])
    total = sum(counts.values(), Counter())
    summary = Summary(
        output.folder, _plain(total), {n: _plain(c) for n, c in counts.items()}, dict(failures), notes, built
    )
    parts = _part_of(heads, split)
    with _sink(output, digest(*(h.fingerprint for h in heads), split), heads) as text:
        if text is not None:
            _write_layout(output, heads, parts, classes, text)
    _write_log(output, heads, summary, options, split)
    return summary


Text = Any  # a context manager: name -> a function that writes a line


def _write_layout(
    output: Output,
    heads: list[_Head],
    parts: Mapping[str, str],
    classes: Mapping[str, Mapping[str, str]],
    text: Text,
) -> None:
    with text(CLASS_NAMES) as write:
        write(json.dumps(classes, sort_keys=False, indent=1, ensure_ascii=False) + "\n")
    with text(RELEASE_INDEX) as write:
        _write_object(write, _images(output, heads))
    with text(SIDECAR) as write:
        for line in _lines(output, heads):
            write(json.dumps(line, ensure_ascii=False) + "\n")
    for name in SPLITS:
        mine = {head.key for head in heads if parts.get(head.key) == name}
        if mine:
            with text(f"image2label_{name}.json") as write:
                _write_object(write, _images(output, heads, mine))


def _write_object(write: Any, items: Iterable[tuple[str, Any]]) -> None:
    """A JSON object, one member a line."""
    begin = "{\n"
    for key, value in items:
        write(f"{begin}{json.dumps(key, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}")
        begin = ",\n"
    write("{}\n" if begin == "{\n" else "\n}\n")


def _write_log(
    output: Output, heads: list[_Head], summary: Summary, options: Mapping[str, Any], split: SplitRule
) -> None:
    log = {
        "counts": dict(summary.counts), "counts by dataset": dict(summary.by_dataset), "failed": dict(sorted(summary.failures.items())),
        "notes": list(summary.notes), "options by dataset": options, "split": vars(split),
    }  # fmt: skip
    with replacing(output.folder / LOG, output.temporary) as partial:
        partial.write_text(json.dumps(log, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    with (
        replacing(output.folder / DROPPED, output.temporary) as partial,
        partial.open("w", encoding="utf-8") as stream,
    ):
        for head in heads:
            for entry in _load(output, head.key)["dropped"]:
                stream.write(json.dumps(entry, ensure_ascii=False) + "\n")


# Order: images by their names. No field can hold "--" or end in "-", so no beginning MODALITY--DATASET--CASE-- is the
# beginning of another one, and sorting the beginnings sorts the names.


def _in_order(heads: Iterable[_Head]) -> Iterator[tuple[str, _Head]]:
    begins = [(f"images/{modality}--{head.key}--", head) for head in heads for modality in head.modalities]
    yield from sorted(begins, key=lambda pair: pair[0])


def _images(
    output: Output, heads: list[_Head], only: set[str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    for begin, head in _in_order(heads):
        if only is None or head.key in only:
            images = _load(output, head.key)["images"]
            yield from ((name, images[name]) for name in sorted(images) if name.startswith(begin))


def _lines(output: Output, heads: list[_Head]) -> Iterator[dict[str, Any]]:
    for begin, head in _in_order(heads):
        lines = [line for line in _load(output, head.key)["lines"] if line["image"].startswith(begin)]
        yield from sorted(lines, key=lambda line: str(line["image"]))


def _parts(output: Output) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted((output.hidden / "parts").glob("*.json")):
        key = path.name.removesuffix(".json")
        if (part := output.read_part(key)) is not None:
            yield key, part


@lru_cache(maxsize=2)
def _load(output: Output, key: str) -> dict[str, Any]:
    part = output.read_part(key)
    if part is None:
        raise DatasetError(
            f"{output.part(key)}: vanished while the index was written; give the same command again"
        )
    return part


def _same_classes(classes: dict[str, dict[str, str]], part: Mapping[str, Any], folder: Path) -> None:
    """Class ids are per data set: two volumes of one name must agree."""
    own = dict(sorted(part["classes"].items(), key=lambda item: item[1]))
    if classes.setdefault(part["dataset"], own) != own:
        raise DatasetError(
            f"{folder}: two builds call their data set {part['dataset']!r} but have other classes; build one of them under "
            "another name (--name), or all of it again into a new folder"
        )


def _part_of(heads: Iterable[_Head], rule: SplitRule) -> dict[str, str]:
    """Volume -> train or test."""
    held = list(heads)
    if rule.by == "none":
        return {}
    if rule.by == "source":
        return {head.key: head.split for head in held if head.split}
    test: set[str] = set()
    for dataset in {head.dataset for head in held}:
        patients = {head.patient for head in held if head.dataset == dataset}
        ranked = sorted(patients, key=lambda patient: digest("split", rule.seed, patient))
        test.update(ranked[: round(rule.test * len(ranked))])
    return {head.key: "test" if head.patient in test else "train" for head in held}


def _plain(counter: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counter.items()))


@contextmanager
def _sink(output: Output, key: str, heads: list[_Head]) -> Iterator[Text]:
    """What opens the texts of the layout for writing; None when an archive of just this is there."""
    if not output.packed:
        for name in SPLITS:
            (output.folder / f"image2label_{name}.json").unlink(missing_ok=True)
        yield _FolderText(output)
        return
    stamp = output.hidden / "archive"
    if output.archive.is_file() and stamp.is_file() and stamp.read_text() == key:
        yield None
        return
    with replacing(output.archive, output.temporary) as partial, ExitStack() as stack:
        members = stack.enter_context(Members(output.archive))
        target = stack.enter_context(zipfile.ZipFile(partial, "w"))
        for head in heads:
            members.copy(sorted(_load(output, head.key)["sizes"]), output.volume(head.key), target)
        yield _ArchiveText(target)
    with told(output.archive):
        stamp.write_text(key)
        for head in heads:
            output.volume(head.key).unlink(missing_ok=True)


class _FolderText:
    def __init__(self, output: Output) -> None:
        self._output = output

    @contextmanager
    def __call__(self, name: str) -> Iterator[Any]:
        target = self._output.folder / name
        with (
            replacing(target, self._output.temporary) as partial,
            partial.open("w", encoding="utf-8") as stream,
        ):
            yield stream.write


class _ArchiveText:
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive

    @contextmanager
    def __call__(self, name: str) -> Iterator[Any]:
        with adding_text(self._archive, TOP + name) as stream:
            yield lambda text: stream.write(text.encode("utf-8"))
