"""Whether a run is what it was: hashes of every part, the endpoint as it was declared, the same numbers again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medeval.runs import Run
from medeval.runs.files import read_json, write_json
from medeval.runs.parts import read_meta
from medeval.suite.declared import Declared
from medeval.types import RunError

HASHES = "hashes.json"
_SEALED = ("records", "predictions", "timings", "cases")
_FILES = ("manifest.json", "summary.json")


@dataclass(frozen=True)
class Verified:
    """checked: number of files. problems: what does not agree, a sentence each. rerun: None when it was not asked for."""

    checked: int
    problems: tuple[str, ...]
    rerun: str | None = None

    @property
    def good(self) -> bool:
        """True when nothing was found."""
        return not self.problems


def declare(folder: Path) -> None:
    """Keep the hash of the endpoint that the manifest declares; call it before anything is scored.

    ``declared`` holds every endpoint that this run was scored under, in order, so that a later one shows.
    """
    before = _sealed(folder) or {}
    now = Declared.of(read_json(folder / "manifest.json")["suite"]).sha256
    earlier = before.get("declared", [])
    if not earlier or earlier[-1] != now:
        write_json(folder / HASHES, {"files": before.get("files", {}), "declared": [*earlier, now]})


def seal(folder: Path, elsewhere: Mapping[str, str] | None = None) -> None:
    """Write the hash of every part, of the manifest and the summary; call it last in a run.

    elsewhere: name -> SHA-256 of files of the run that lie on another machine.
    """
    declare(folder)
    files = {name: sha for name, sha in (elsewhere or {}).items() if name.partition("/")[0] in _SEALED}
    write_json(folder / HASHES, {**(_sealed(folder) or {}), "files": files | _hashes(folder)})


def verify(run: Run, rerun: Callable[[Run], Run] | None = None) -> Verified:
    """Check a run folder.

    rerun: repeats the run into another folder; the numbers of the two are then compared exactly.
    Raises ``RunError`` when the run was never sealed and nothing is to be repeated.
    """
    sealed = _sealed(run.fetch().path)
    if sealed is None and rerun is None:
        raise RunError(
            f"{run.where}: no {HASHES}; the run has not finished, or was made before hashes were kept: use --rerun"
        )
    problems = [*_endpoint_problems(run, sealed), *_part_problems(run)]
    hashes = _hashes(run.path)
    if sealed is not None:
        problems += _file_problems(sealed["files"], hashes)
    told = None
    if rerun is not None:
        again = _repeated(run, rerun(run))
        problems += again
        told = "the numbers are not the same" if again else "the same numbers again"
    return Verified(len(hashes), tuple(problems), told)


def _sealed(folder: Path) -> dict[str, Any] | None:
    path = folder / HASHES
    return read_json(path) if path.exists() else None


def _hashes(folder: Path) -> dict[str, str]:
    paths = [path for name in _SEALED for path in sorted((folder / name).glob("[!.]*")) if path.is_file()]
    paths += [folder / name for name in _FILES if (folder / name).exists()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def _file_problems(then: dict[str, str], now: dict[str, str]) -> Iterator[str]:
    for name in sorted({*then, *now}):
        if name not in now:
            yield f"{name} is missing"
        elif name not in then:
            yield f"{name} was added after the run had finished"
        elif then[name] != now[name]:
            yield f"{name} was changed after the run had finished"


def _endpoint_problems(run: Run, sealed: dict[str, Any] | None) -> Iterator[str]:
    """The endpoint of manifest, summary and seal is one, and was there before the first score."""
    now = Declared.of(run.manifest["suite"]).sha256
    kept = run.manifest.get("endpoint", {}).get("sha256")
    if kept is not None and kept != now:
        yield "the endpoint in manifest.json is not the one that was hashed before scoring"
    told = (run.summary().get("endpoint") or {}).get("sha256")
    if told is not None and told != now:
        yield "the endpoint of summary.json is not that of manifest.json"
    declared = (sealed or {}).get("declared", [])
    if len(declared) > 1:
        yield f"the endpoint was changed after scoring: {len(declared)} different ones were declared for this run"
    elif declared and declared[0] != now:
        yield "the endpoint was changed after scoring"


def _part_problems(run: Run) -> Iterator[str]:
    for path in sorted((run.path / "records").glob("[!.]*.parquet")):
        if read_meta(path) is None:
            yield f"records/{path.name} cannot be read, or is no part of a run"


def _repeated(first: Run, second: Run) -> list[str]:
    """What differs between the scores of the two, exactly."""
    ours, theirs = (_numbers(run) for run in (first, second))
    changed = [name for name in ours if name in theirs and ours[name] != theirs[name]]
    told = [f"{name}: {ours[name]} in the run, {theirs[name]} when repeated" for name in changed[:10]]
    told += [f"{len(changed) - 10} more scores differ"] if len(changed) > 10 else []
    lost = len(set(ours) ^ set(theirs))
    return [*told, *([f"{lost} scores are in one of the two only"] if lost else [])]


def _numbers(run: Run) -> dict[str, tuple[Any, ...]]:
    names = ("task", "dataset", "model", "arm", "prompt", "by", "metric", "curve")
    return {
        json.dumps([*(row.get(name, "") for name in names), row["group"]], sort_keys=True, default=str):
            (row["value"], row["low"], row["high"], row["n"])
        for row in run.summary()["scores"]
    }  # fmt: skip
