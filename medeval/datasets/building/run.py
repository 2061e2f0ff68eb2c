"""Building: volumes in parallel, each finished or not at all; a second run does what is missing and nothing else."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medeval.datasets.base import ImagingDataset
from medeval.datasets.building.archive import Members
from medeval.datasets.building.finish import SplitRule, Summary, finish
from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.output import Output
from medeval.datasets.building.sources import Plan, Source, Volume
from medeval.datasets.building.volume import Cutter
from medeval.types import DataError, DatasetError, digest

VERSION = 1  # raised when the built bytes change
Tick = Callable[[bool], None]


@dataclass(frozen=True)
class _Job:
    """One volume, for a worker; ``stale``: pictures of it that lie there already."""

    key: str
    volume: Volume
    fingerprint: str
    stale: frozenset[str]


@dataclass(frozen=True)
class _Work:
    """What every job of a build shares."""

    sources: tuple[Source, ...]
    options: BuildOptions
    output: Output


def build(
    plan: Plan,
    out: Path,
    options: BuildOptions | None = None,
    *,
    split: SplitRule | None = None,
    packed: bool = False,
    workers: int = 1,
    tick: Tick = lambda failed: None,
) -> Summary:
    """Write the layout into ``out``; continue or extend what an earlier build left there.

    tick: called once a volume, those that were finished before included, with True when it failed. A volume that cannot
    be read is a failure in the summary and in ``build_log.json``, and is tried again next time; the others stand.
    Raises ``DatasetError``: ``out`` cannot be written, the disk is full, a worker was killed.
    """
    output = Output(out, packed)
    work = _Work(plan.sources, options or BuildOptions(), output)
    failures: dict[str, str] = {}
    with output.opened():
        jobs = []
        with Members(output.archive) as members:
            for job in _jobs(plan, work, failures, tick):
                if output.finished(job.key, job.fingerprint, members):
                    tick(False)
                else:
                    jobs.append(job)
        for key, error in _run(jobs, work, workers):
            if error:
                failures[key] = error
            tick(bool(error))
        return finish(output, split or SplitRule(), failures, plan.notes, built=len(jobs))


def _jobs(plan: Plan, work: _Work, failures: dict[str, str], tick: Tick) -> Iterator[_Job]:
    for volume in plan.volumes:
        key = volume.key(plan.sources)
        fingerprint = _fingerprint(work, volume)
        yield _Job(key, volume, fingerprint, frozenset(work.output.found.get(key, ())))


def _fingerprint(work: _Work, volume: Volume) -> str:
    """What the volume's built bytes depend on."""
    source = work.sources[volume.source]
    about = [source.name, source.modalities, dict(source.classes), source.split, volume.patient]
    options = work.options.model_dump_json()
    return digest(VERSION, options, json.dumps(about, sort_keys=True), _open(source).fingerprint(volume.case))


def _run(jobs: Sequence[_Job], work: _Work, workers: int) -> Iterator[tuple[str, str]]:
    """(key, error or "") of each job as it ends."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job.key, _build_one(job, work)
        return
    # Spawned, not forked: a fork of a process with threads (a progress bar has one) can hang.
    from multiprocessing import get_context

    with ProcessPoolExecutor(min(workers, len(jobs)), get_context("spawn"), _begin, (work,)) as pool:
        waiting: dict[Future[str], str] = {pool.submit(_in_worker, job): job.key for job in jobs}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool as error:
            raise DatasetError(
                f"{work.output.folder}: a worker was killed, by the system when memory runs out; what was finished is "
                "kept. Give the same command with fewer --workers to go on"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_work: _Work | None = None


def _begin(work: _Work) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the build, at the end of a volume


def _in_worker(job: _Job) -> str:
    if _work is None:
        raise RuntimeError("the worker was not set up")
    return _build_one(job, _work)


def _build_one(job: _Job, work: _Work) -> str:
    """Build one volume; its error when its own files are the reason."""
    source, output = work.sources[job.volume.source], work.output
    output.part(job.key).unlink(missing_ok=True)
    try:
        with output.writing(job.key) as write:
            built = Cutter(source, job.volume, work.options, write).cut(_open(source))
    except DataError as error:
        output.remove(set(job.stale))
        return _without(str(error), source.root)
    except MemoryError:
        return f"{job.key}: out of memory"
    output.remove(set(job.stale) - set(built.sizes))
    output.finish(job.key, built, _about(job, source, work.options))
    return ""


def _about(job: _Job, source: Source, options: BuildOptions) -> dict[str, Any]:
    return {
        "fingerprint": job.fingerprint, "dataset": source.name, "case": job.volume.case, "patient": job.volume.patient,
        "split": source.split, "classes": dict(source.classes.values()), "options": options.model_dump(mode="json"),
        "modalities": list(source.modalities),
    }  # fmt: skip


def _without(text: str, root: Path) -> str:
    """An error text with paths relative to the root, so that logs of equal builds are equal."""
    return text.replace(f"{root}/", "")


_opened: dict[str, ImagingDataset] = {}


def _open(source: Source) -> ImagingDataset:
    """The source's reader, opened once a process."""
    key = json.dumps([source.reader, dict(source.options)], sort_keys=True, default=str)
    if key not in _opened:
        _opened[key] = source.open()
    return _opened[key]
