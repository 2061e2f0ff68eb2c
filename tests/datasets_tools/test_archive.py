"""The layout read from a zip archive."""

from __future__ import annotations

import json
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medeval.datasets import SAMed2D
from medeval.types import DataError, DatasetError

STEM = "ct_00--Toy--a_1--z_0005"


@pytest.fixture
def archive(built):
    return built(axes=("z",), packed=True) / "SAMed2Dv1.zip"


def test_the_archive_reads_as_its_folder_does(archive, tmp_path):
    with zipfile.ZipFile(archive) as source:
        source.extractall(tmp_path / "unpacked")
    packed, folder = SAMed2D(root=archive), SAMed2D(root=tmp_path / "unpacked/SAMed2Dv1")
    assert packed.index.ids == folder.index.ids
    assert packed.check() == folder.check() == []
    a, b = packed.read(STEM), folder.read(STEM)
    np.testing.assert_array_equal(a.inputs["image"].array, b.inputs["image"].array)
    for name in b.reference["structures"].names:
        np.testing.assert_array_equal(
            a.reference["structures"].mask(name), b.reference["structures"].mask(name)
        )
    assert a.inputs["image"].grid == b.inputs["image"].grid or a.inputs["image"].grid.unit == "mm"
    only = packed.read(STEM, ("reference",))
    assert only.reference["structures"].shape == a.inputs["image"].grid.shape


def test_threads_share_one_archive(archive):
    dataset = SAMed2D(root=archive)
    ids = dataset.index.ids * 3
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda case_id: dataset.read(case_id).reference["structures"].names, ids))
    assert len(found) == len(ids)


def repacked(archive, target, change):
    """The archive with members changed; None removes one."""
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w") as out:
        for name in source.namelist():
            data = change(name, source.read(name))
            if data is not None:
                out.writestr(name, data)
    return target


def test_a_missing_member_is_told_by_check_and_by_read(archive, tmp_path):
    gone = f"SAMed2Dv1/masks/{STEM}--0000_000.png"
    dataset = SAMed2D(root=repacked(archive, tmp_path / "x.zip", lambda n, d: None if n == gone else d))
    [problem] = dataset.check()
    assert problem.startswith(STEM)
    assert problem.endswith("is missing")
    with pytest.raises(DataError, match=r"0000_000\.png: no such file"):
        dataset.read(STEM)


def test_a_damaged_member_is_a_data_error(archive, tmp_path):
    raw = bytearray(archive.read_bytes())
    with zipfile.ZipFile(archive) as source:
        info = source.getinfo(f"SAMed2Dv1/images/{STEM}.png")
    raw[info.header_offset + 200] ^= 255
    (tmp_path / "x.zip").write_bytes(bytes(raw))
    with pytest.raises(DataError, match=rf"{STEM}\.png: cannot be read from the archive"):
        SAMed2D(root=tmp_path / "x.zip").read(STEM)


def test_a_mask_of_another_shape_is_told(archive, tmp_path, png):
    small = png(tmp_path / "small.png", np.eye(4, dtype=np.uint8)).read_bytes()
    name = f"SAMed2Dv1/masks/{STEM}--0000_000.png"
    dataset = SAMed2D(root=repacked(archive, tmp_path / "x.zip", lambda n, d: small if n == name else d))
    with pytest.raises(DataError, match="lies on another grid: 4x4"):
        dataset.read(STEM)


def test_the_fingerprint_follows_the_members_bytes(archive, tmp_path):
    name = f"SAMed2Dv1/masks/{STEM}--0000_000.png"
    same = SAMed2D(root=repacked(archive, tmp_path / "same.zip", lambda n, d: d))
    other = SAMed2D(root=repacked(archive, tmp_path / "other.zip", lambda n, d: d + b"x" if n == name else d))
    mine = SAMed2D(root=archive)
    assert mine.fingerprint(STEM) == same.fingerprint(STEM) != other.fingerprint(STEM)
    neighbour = STEM.replace("0005", "0006")
    assert mine.fingerprint(neighbour) == other.fingerprint(neighbour)


@pytest.mark.parametrize("entry", ["../outside_000.png", "/etc/passwd", "C:\\x.png"])
def test_a_hostile_entry_is_refused(archive, tmp_path, entry):
    def change(name, data):
        if not name.endswith("SAMed2D_v1.json"):
            return data
        return json.dumps({f"images/{STEM}.png": [entry]}).encode()

    dataset = SAMed2D(root=repacked(archive, tmp_path / "x.zip", change), allow_outside=True)
    with pytest.raises(DataError, match=r"climbs|absolute"):
        dataset.read(STEM)


def test_what_is_no_whole_archive_is_told(archive, tmp_path):
    (tmp_path / "half.zip").write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(DatasetError, match="neither a folder nor a whole zip archive"):
        SAMed2D(root=tmp_path / "half.zip").index  # noqa: B018
    with zipfile.ZipFile(tmp_path / "bare.zip", "w") as bare:
        bare.writestr("readme.txt", "nothing here")
    with pytest.raises(DatasetError, match=r"the archive holds no SAMed2D_v1\.json"):
        SAMed2D(root=tmp_path / "bare.zip").index  # noqa: B018
