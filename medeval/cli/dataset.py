"""``medeval dataset``: build, describe and check data in the layouts of SA-Med2D-20M and SAM-Med3D. Thin: each command calls
the library.

Exit codes are those of ``medeval``: 0 fine; 1 volumes could not be built, or something was found; 2 the input is wrong.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    name="dataset",
    help="Build data in the SA-Med2D-20M layout; describe and check it, and data in SAM-Med3D's.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

LAYOUTS = ("sa-med2d",)
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Patient = Annotated[
    str | None,
    typer.Option("--patient", help="Where a case's name carries its patient: a regular expression."),
]
Threads = Annotated[int, typer.Option(min=1, help="Threads that read.")]
_CORES = os.cpu_count() or 1


@app.command()
def build(
    layout: Annotated[str, typer.Argument(help="The layout to write: sa-med2d.")],
    root: Annotated[Path, typer.Argument(help="Folder to build from.")],
    from_: Annotated[
        str, typer.Option("--from", help="nnunet: a data set or a folder of several; nifti: pairs of files.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder to write; an earlier build in it is continued.")
    ],
    name: Annotated[
        str | None, typer.Option(help="Data set name in the file names; default: the folder's.")
    ] = None,
    modality: Annotated[
        list[str] | None,
        typer.Option(help="ct_00, or CHANNEL=mr_t1 with a channel's name or number; repeatable."),
    ] = None,
    patient: Patient = None,
    images: Annotated[str, typer.Option(help="nifti: pattern of the images.")] = "images/*.nii.gz",
    masks: Annotated[
        str, typer.Option(help="nifti: pattern of an image's masks; {structure} for one file a structure.")
    ] = "labels/{id}.nii.gz",
    label: Annotated[
        list[str] | None,
        typer.Option(help="nifti: NAME=VALUE of a label map (NAME=1,2 a region); repeatable."),
    ] = None,
    axes: Annotated[str, typer.Option(help="Axes to slice along.")] = "xyz",
    orientation: Annotated[
        str, typer.Option(help="stored: as the paper; upright: as radiologists see it.")
    ] = "stored",
    letters: Annotated[
        str, typer.Option(help="Letters of the volume's axes; zyx calls the third one x.")
    ] = "xyz",
    scope: Annotated[
        str, typer.Option(help="Scale by the minimum and maximum of each image or of the volume.")
    ] = "image",
    percentiles: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Clip to these percentiles instead, for example 0.5 99.5."),
    ] = None,
    window: Annotated[
        tuple[float, float] | None, typer.Option(help="CT: clip to a window instead, LEVEL WIDTH in HU.")
    ] = None,
    min_side: Annotated[float, typer.Option(help="Smallest shorter side / longer side of an image.")] = 0.5,
    min_area: Annotated[
        float, typer.Option(help="Smallest area of a mask, as a share of its image.")
    ] = 0.00153,
    split: Annotated[
        str, typer.Option(help="Split files by: patients, source (imagesTr, imagesTs) or none.")
    ] = "patients",
    test: Annotated[
        float, typer.Option(min=0, max=1, help="Share of each data set's patients for testing.")
    ] = 0.2,
    seed: Annotated[int, typer.Option(help="Draws the patients for testing.")] = 0,
    zip_: Annotated[bool, typer.Option("--zip", help="Write one archive, not a file a mask.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = _CORES,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be built and stop.")] = False,
    quiet: Quiet = False,
) -> None:
    """Cut volumes into images and masks, as the paper did; continues where it was stopped."""
    _layout(layout)
    from medeval.datasets.building.commands import (
        build_options,
        make_plan,
        planned_text,
        split_rule,
        summary_text,
    )
    from medeval.datasets.building.run import build as build_layout

    options = build_options(
        axes=tuple(axes), orientation=orientation, letters=letters, scope=scope, percentiles=percentiles, window=window,
        min_side=min_side, min_area=min_area,
    )  # fmt: skip
    rule = split_rule(split, test, seed)
    plan = make_plan(from_, root, modality or (), name, patient, images, masks, label or ())
    if dry_run:
        typer.echo(planned_text(plan))
        return
    with _progress("build", len(plan.volumes), quiet) as tick:
        done = build_layout(plan, out, options, split=rule, packed=zip_, workers=workers, tick=tick)
    typer.echo(summary_text(done))
    if done.failures:
        raise typer.Exit(1)


@app.command()
def stats(
    root: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder (or SA-Med2D zip archive) in a layout.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; default NAME_statistics.html here.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=0, help="Images that are opened to measure sizes; 0: none.")
    ] = 2000,
    patient: Patient = None,
    threads: Threads = 2 * _CORES,
    quiet: Quiet = False,
) -> None:
    """Print the paper's statistics (modalities, data sets, structures, sizes) and write them as a page."""
    from medeval.datasets.building.layouts import open_layout

    layout = open_layout(root, patient)
    total = layout.count()
    with _progress("stats", total + min(sample, total), quiet) as tick:
        parts = layout.described(sample, threads, tick)
    if not quiet:
        _print([view for part in parts for view in part.views])
    typer.echo(f"page: {_page(out or Path(f'{root.resolve().stem}_statistics.html'), root, parts)}")


@app.command()
def check(
    root: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder (or SA-Med2D zip archive) in a layout.")
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Names, paths and presence of files alone.")] = False,
    min_area: Annotated[
        float, typer.Option(help="SA-Med2D: also tell masks below this share of their image.")
    ] = 0.0,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write every finding, as JSON lines.")
    ] = None,
    patient: Patient = None,
    threads: Threads = 2 * _CORES,
    quiet: Quiet = False,
) -> None:
    """Look for what is wrong: broken, missing and orphaned files, odd masks, doubles, patients in two splits."""
    from medeval.datasets.building.commands import findings_table, findings_writer
    from medeval.datasets.building.layouts import open_layout

    layout = open_layout(root, patient)
    with findings_writer(out) as write, _progress("check", layout.entries(), quiet) as tick:
        found = layout.checked(quick, min_area, threads, write, tick)
    if not found.clean:
        _print([findings_table(found)])
    typer.echo(f"{root}: {found.summary}" + (f"; all of them in {out}" if out else ""))
    if not found.clean:
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Unit:
    """What a progress bar asks of a finished unit."""

    failed: bool


@contextmanager
def _progress(label: str, total: int, quiet: bool) -> Iterator[Any]:
    """A function to be called once a unit, with True when it failed."""
    from medeval.engine.progress import progress_for

    shown: Any = progress_for(quiet)
    with shown.cell(label, total, 0) as advance:
        yield lambda failed: advance(_Unit(failed))


def _layout(name: str) -> None:
    from medeval.types.errors import DatasetError, nearest

    if name not in LAYOUTS:
        raise DatasetError(f"layout {name!r} is not built; {nearest(name, LAYOUTS)}")


def _print(views: Any) -> None:
    """Tables; curves are for the page."""
    from medeval.report import plain_table, render_table
    from medeval.types.views import Table

    for view in views:
        if not isinstance(view, Table):
            continue
        if sys.stdout.isatty():
            from rich.console import Console

            Console().print(render_table(view))
        else:
            typer.echo(plain_table(view) + "\n")


def _page(path: Path, root: Path, parts: Any) -> Path:
    from medeval.datasets.building.files import told
    from medeval.report import Section, write_report

    sections = [Section(part.title, part.views, part.text) for part in parts]
    with told(path):
        return write_report(
            path,
            f"{root.resolve().name}: statistics",
            sections,
            {"data": root.resolve().name},
            lambda item: None,
        )
