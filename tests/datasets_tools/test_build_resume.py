"""A build is continued, extended and repeated without doing anything twice, and ends in the same bytes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from toy_volumes import contents, volume

from medeval.datasets import SAMed2D
from medeval.datasets.building import files
from medeval.datasets.building import run as running
from medeval.datasets.building.inspection import inspect
from medeval.datasets.building.options import BuildOptions
from medeval.datasets.building.output import Output
from medeval.datasets.building.run import build
from medeval.datasets.building.sources import plan_nnunet
from medeval.types import DatasetError

CASES = {f"c_{n}": volume(n) for n in range(5)}


@pytest.fixture
def plan(nnunet):
    return plan_nnunet(nnunet(CASES), {})


@pytest.mark.parametrize("packed", [False, True])
def test_a_second_run_builds_nothing_and_changes_no_byte(plan, tmp_path, packed):
    first = build(plan, tmp_path / "out", packed=packed)
    before = contents(tmp_path / "out")
    second = build(plan, tmp_path / "out", packed=packed)
    assert (first.built, second.built) == (5, 0)
    assert contents(tmp_path / "out") == before
    assert second.counts == first.counts


@pytest.mark.parametrize("packed", [False, True])
def test_processes_change_no_byte(plan, tmp_path, packed):
    build(plan, tmp_path / "one", packed=packed)
    build(plan, tmp_path / "two", packed=packed, workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


@pytest.mark.parametrize("packed", [False, True])
def test_a_build_that_was_stopped_goes_on_and_ends_in_the_same_bytes(plan, tmp_path, packed, monkeypatch):
    build(plan, tmp_path / "whole", packed=packed)
    built = []

    def stop(job, work):
        if len(built) == 3:
            raise KeyboardInterrupt
        built.append(job.key)
        return original(job, work)

    original = running._build_one
    monkeypatch.setattr(running, "_build_one", stop)
    with pytest.raises(KeyboardInterrupt):
        build(plan, tmp_path / "broken", packed=packed)
    monkeypatch.undo()
    assert build(plan, tmp_path / "broken", packed=packed).built == 2
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_a_killed_process_leaves_nothing_half_written(nnunet, tmp_path, own_cache):
    root = nnunet({f"k_{n}": volume(n, (60, 50, 40)) for n in range(12)})
    script = textwrap.dedent(f"""
        from pathlib import Path
        from medeval.datasets.building.options import BuildOptions
        from medeval.datasets.building.run import build
        from medeval.datasets.building.sources import plan_nnunet
        build(plan_nnunet(Path({str(root)!r}), {{}}), Path({str(tmp_path / "killed")!r}), BuildOptions(min_side=0))
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "MEDEVAL_CACHE": str(own_cache)}
    )
    parts = tmp_path / "killed/.build/parts"
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if parts.is_dir() and len(list(parts.iterdir())) >= 2:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    plan = plan_nnunet(root, {})
    again = build(plan, tmp_path / "killed", BuildOptions(min_side=0))
    assert 0 < again.built < 12
    build(plan, tmp_path / "whole", BuildOptions(min_side=0))
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert inspect(SAMed2D(root=tmp_path / "killed")).clean


@pytest.mark.parametrize("damage", ["removed", "cut", "part"])
def test_a_volume_whose_files_are_damaged_is_built_again(plan, tmp_path, damage):
    out = tmp_path / "out"
    build(plan, out)
    before = contents(out)
    victim = next((out / "masks").glob("*c_3*"))
    if damage == "removed":
        victim.unlink()
    elif damage == "cut":
        victim.write_bytes(victim.read_bytes()[:20])
    else:
        (out / ".build/parts/Toy--c_3.json").write_text('{"fingerprint": "')
    assert build(plan, out).built == 1
    assert contents(out) == before


@pytest.mark.parametrize("packed", [False, True])
def test_other_options_leave_nothing_of_the_old_ones(plan, tmp_path, packed):
    build(plan, tmp_path / "out", BuildOptions(min_area=0, min_side=0), packed=packed)
    build(plan, tmp_path / "out", BuildOptions(min_area=0.05), packed=packed)
    build(plan, tmp_path / "fresh", BuildOptions(min_area=0.05), packed=packed)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


@pytest.mark.parametrize("packed", [False, True])
def test_a_second_data_set_is_added_to_the_first(plan, nnunet, tmp_path, packed):
    other = plan_nnunet(nnunet({"m_1": volume(9)}, name="Dataset008_Other", channels=("T2",)), {})
    build(plan, tmp_path / "out", packed=packed)
    done = build(other, tmp_path / "out", packed=packed)
    assert (done.built, set(done.by_dataset)) == (1, {"Toy", "Other"})
    dataset = SAMed2D(root=tmp_path / "out/SAMed2Dv1.zip" if packed else tmp_path / "out")
    assert {case.metadata["source"] for case in dataset.index} == {"Toy", "Other"}
    assert inspect(dataset).clean
    build(other, tmp_path / "turned", packed=packed)
    build(plan, tmp_path / "turned", packed=packed)
    names = {"SAMed2Dv1.zip"} if packed else {"SAMed2D_v1.json", "cases.jsonl", "image2label_train.json"}
    turned, straight = contents(tmp_path / "turned"), contents(tmp_path / "out")
    assert all(turned[name] == straight[name] for name in names)


def test_two_data_sets_of_one_name_and_other_classes_are_told(plan, nnunet, tmp_path):
    build(plan, tmp_path / "out")
    twin = nnunet(
        {"z": volume(3)}, name="Dataset099_Toy", labels={"background": 0, "tumour": 1, "cyst": 2, "node": 3}
    )
    with pytest.raises(DatasetError, match="two builds call their data set 'Toy' but have other classes"):
        build(plan_nnunet(twin, {}), tmp_path / "out")


def test_a_full_disk_stops_the_build_and_is_told(plan, tmp_path, monkeypatch):
    def full(source, target):
        if "c_2" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(source, target)

    replace = os.replace
    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DatasetError, match=r"the disk .* is full\. What was finished is kept"):
        build(plan, tmp_path / "out")
    monkeypatch.undo()
    assert build(plan, tmp_path / "out").built == 3
    build(plan, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_folder_is_written_by_one_build_at_a_time(plan, tmp_path):
    with (
        Output(tmp_path / "out").opened(),
        pytest.raises(DatasetError, match="another build is writing this folder"),
    ):
        build(plan, tmp_path / "out")


def test_a_folder_of_somebody_else_is_left_alone(plan, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(DatasetError, match="holds files that no build made"):
        build(plan, tmp_path / "out")


def test_folders_and_archive_are_not_mixed(plan, tmp_path):
    build(plan, tmp_path / "folders")
    build(plan, tmp_path / "archive", packed=True)
    with pytest.raises(DatasetError, match="leave out --zip"):
        build(plan, tmp_path / "folders", packed=True)
    with pytest.raises(DatasetError, match="give --zip"):
        build(plan, tmp_path / "archive")


def test_a_failed_volume_is_tried_again(nnunet, tmp_path):
    root = nnunet({"a": volume(1), "b": volume(2)})
    label = root / "labelsTr/b.nii.gz"
    whole = label.read_bytes()
    label.write_bytes(whole[:100])
    first = build(plan_nnunet(root, {}), tmp_path / "out")
    assert list(first.failures) == ["Toy--b"]
    assert "labelsTr/b.nii.gz" in first.failures["Toy--b"]
    assert str(root) not in first.failures["Toy--b"]
    label.write_bytes(whole)
    second = build(plan_nnunet(root, {}), tmp_path / "out")
    assert (second.built, dict(second.failures), second.counts["volumes"]) == (1, {}, 2)
