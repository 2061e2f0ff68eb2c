"""What every dataset does: selection, order, splits, patients, fingerprints and the cheap check."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import Field, ValidationError

from medeval.datasets import fingerprints
from medeval.datasets.base import BOTH, Dataset
from medeval.types import CaseInfo, DataError, DatasetError


class Words(Dataset):
    """Text files of a folder, one case a file; `p1_a` belongs to site A or B."""

    selecting: ClassVar = Dataset.selecting | {"root"}

    root: Path = Field()
    upper: bool = False

    def scan(self):
        paths = sorted(self.root.glob("*.txt"))
        return [
            CaseInfo(p.stem, None, {"site": "AB"[n % 2], "n": n, "split": "test"})
            for n, p in enumerate(paths)
        ]

    def looked_for(self):
        return "*.txt"

    def sources(self, case_id):
        if case_id == "evil":
            raise DataError("evil leaves the root")
        return {"text": self.root / f"{case_id}.txt"}

    def read(self, case_id, fields=BOTH):
        return self.case(case_id, {"text": self.sources(case_id)["text"].read_text()}, {})


NAMES = [f"p{patient}_{part}" for patient in range(6) for part in "ab"]


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.txt").write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, NAMES),
        ({"limit": 3}, NAMES[:3]),
        ({"select": {"id": "p1_*"}}, ["p1_a", "p1_b"]),
        ({"select": {"id": ["p3_a", "p0_?"]}}, ["p0_a", "p0_b", "p3_a"]),
        ({"select": {"site": "B"}, "limit": 2}, ["p0_b", "p1_b"]),
        ({"select": {"site": ["A"], "id": "p[45]_*"}}, ["p4_a", "p5_a"]),
        ({"select": {"n": 3}}, ["p1_b"]),
        ({"select": {"patient": "p2"}, "patient_id": "p."}, ["p2_a", "p2_b"]),
        ({"select": {"vendor": "X"}, "metadata": {"vendor": "X"}, "limit": 1}, ["p0_a"]),
        ({"split": "test", "limit": 1}, ["p0_a"]),
    ],
)
def test_cases_are_selected_before_the_limit(folder, options, expected):
    assert list(Words(root=folder, **options).index.ids) == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"select": {"site": "C"}}, r"select \{site: 'C'\} leaves none of 12 cases; known: A, B"),
        ({"select": {"sit": "A"}}, "no case has 'sit'; did you mean 'site'"),
        ({"select": {"id": "p1_c"}}, "names the id 'p1_c', which is not there; did you mean 'p1_"),
        ({"select": {"id": "q*"}}, "leaves none of 12 cases"),
        ({"split": "train"}, "no case belongs to split 'train'; .*known: test"),
        ({"split": "13/13"}, None),
        ({"split": "1/20"}, "part 1/20 is empty: there are only 12 patients"),
        ({"patient_id": r"x(\d)"}, "finds nothing in case id 'p0_a'"),
        ({"patient_id": "column:sit"}, "no value for column 'sit'; did you mean 'site'"),
    ],
)
def test_a_selection_that_cannot_be_met_says_what_is_there(folder, options, says):
    if says is None:
        assert len(Words(root=folder, **options).index) == 1
        return
    with pytest.raises(DatasetError, match=says):
        Words(root=folder, **options).index  # noqa: B018


@pytest.mark.parametrize(
    "options",
    [{"limit": 0}, {"patient_id": "("}, {"split": "3/2"}, {"split": "0/2"}, {"lmit": 3}, {"select": ["a"]}],
)
def test_options_are_checked_when_the_dataset_is_built(folder, options):
    with pytest.raises(ValidationError):
        Words(root=folder, **options)


def test_an_empty_dataset_names_what_was_looked_for(tmp_path):
    with pytest.raises(DatasetError, match=rf"Words {tmp_path}: no cases; looked for \*.txt"):
        Words(root=tmp_path).index  # noqa: B018


def test_two_cases_of_one_id_are_refused(folder, monkeypatch):
    monkeypatch.setattr(Words, "scan", lambda self: [CaseInfo("a"), CaseInfo("a")])
    with pytest.raises(DatasetError, match="'a' occurs more than once"):
        Words(root=folder).index  # noqa: B018


def test_a_seed_shuffles_and_more_cases_do_not_reorder_the_others(folder):
    first = Words(root=folder, seed=1).index.ids
    assert sorted(first) == NAMES
    assert first != tuple(NAMES)
    assert first != Words(root=folder, seed=2).index.ids
    (folder / "p9_z.txt").write_text("new")
    assert tuple(i for i in Words(root=folder, seed=1).index.ids if i != "p9_z") == first


@pytest.mark.parametrize("rule", [None, r"(p\d)_", "column:site"])
def test_the_parts_of_a_split_are_disjoint_complete_and_never_cut_a_patient(folder, rule):
    parts = [Words(root=folder, split=f"{k}/2", patient_id=rule).index for k in (1, 2)]
    assert sorted(parts[0].ids + parts[1].ids) == NAMES
    if rule:
        assert {c.patient for c in parts[0]}.isdisjoint(c.patient for c in parts[1])


@pytest.mark.parametrize(
    ("rule", "patient"),
    [
        (None, None),
        ("p.", "p0"),
        (r"p(\d)", "0"),
        (r"(x)|p(\d)", "0"),
        ("column:site", "A"),
        ("column:n", "0"),
    ],
)
def test_the_patient_comes_from_the_rule_or_is_unknown(folder, rule, patient):
    index = Words(root=folder, patient_id=rule).index
    assert index.info("p0_a").patient == patient
    assert index.patients_known == (rule is not None)


def test_the_case_carries_the_indexs_patient_and_metadata(folder):
    case = Words(root=folder, patient_id="p.", metadata={"vendor": "X"}).read("p1_b")
    assert (case.patient, case.metadata) == ("p1", {"site": "B", "n": 3, "split": "test", "vendor": "X"})


def test_an_unknown_case_is_named_with_the_nearest(folder):
    with pytest.raises(DatasetError, match="no case 'p1_x'; did you mean"):
        Words(root=folder).info("p1_x")


def test_a_copy_with_other_options_has_its_own_index(folder):
    dataset = Words(root=folder)
    assert len(dataset.index) == 12
    assert len(dataset.model_copy(update={"limit": 2}).index) == 2
    with pytest.raises(ValidationError):
        dataset.model_copy(update={"limit": 0})


def test_an_instance_is_frozen_and_crosses_processes(folder):
    dataset = Words(root=folder, limit=4)
    with pytest.raises(ValidationError):
        dataset.limit = 3
    assert pickle.loads(pickle.dumps(dataset)).index.ids == dataset.index.ids


# Fingerprints


def settle(path, content=None):
    """Write and date back, so that the cache may keep the digest."""
    if content is not None:
        path.write_text(content)
    os.utime(path, ns=(10**18, 10**18))


def test_the_fingerprint_follows_bytes_and_reading_options_alone(folder, tmp_path_factory):
    base = Words(root=folder).fingerprint("p0_a")
    os.utime(folder / "p0_a.txt", (1, 1))
    assert Words(root=folder).fingerprint("p0_a") == base
    same = {
        "limit": 3,
        "seed": None,
        "select": {"site": "A"},
        "patient_id": "p.",
        "metadata": {"vendor": "X"},
        "split": "test",
    }
    assert Words(root=folder, **same).fingerprint("p0_a") == base
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "p0_a.txt").write_text("p0_a")
    assert Words(root=elsewhere).fingerprint("p0_a") == base
    assert Words(root=folder, upper=True).fingerprint("p0_a") != base
    assert Words(root=folder).fingerprint("p0_b") != base
    (folder / "p0_a.txt").write_text("P0_a")
    assert Words(root=folder).fingerprint("p0_a") != base


def test_a_raised_version_is_another_fingerprint(folder, monkeypatch):
    base = Words(root=folder).fingerprint("p0_a")
    monkeypatch.setattr(Words, "version", 2)
    assert Words(root=folder).fingerprint("p0_a") != base


def test_a_missing_file_has_a_fingerprint_that_changes_when_it_arrives(folder):
    dataset = Words(root=folder)
    assert dataset.index
    (folder / "p0_a.txt").unlink()
    missing = dataset.fingerprint("p0_a")
    (folder / "p0_a.txt").write_text("p0_a")
    assert dataset.fingerprint("p0_a") != missing


def forget():
    fingerprints._shards.clear()


def cached_hashes(monkeypatch):
    """Counts how often a file is hashed, with nothing in memory."""
    counted = []
    real = fingerprints._hash
    monkeypatch.setattr(fingerprints, "_hash", lambda path: (counted.append(path), real(path))[1])
    monkeypatch.setattr(fingerprints, "_RACY_NS", -1)
    return counted


def test_a_digest_is_kept_on_disk_and_used_again(folder, monkeypatch):
    counted = cached_hashes(monkeypatch)
    first = fingerprints.file_digest(folder / "p0_a.txt")
    forget()
    assert fingerprints.file_digest(folder / "p0_a.txt") == first
    assert len(counted) == 1


def test_a_rewrite_of_the_same_size_and_date_is_seen(folder):
    path = folder / "p0_a.txt"
    settle(path)
    first = fingerprints.file_digest(path)
    settle(path, "p0_A")
    assert fingerprints.file_digest(path) != first


def test_a_file_just_written_is_not_kept(folder, own_cache):
    fingerprints.file_digest(folder / "p0_a.txt")
    assert not list(own_cache.rglob("*.txt"))


@pytest.mark.parametrize(
    "broken", [b"\xff\x00garbage", b"short line\n", b"%s %s 00000000\n" % (b"a" * 32, b"b" * 64)]
)
def test_a_broken_cache_is_ignored(folder, own_cache, monkeypatch, broken):
    counted = cached_hashes(monkeypatch)
    first = fingerprints.file_digest(folder / "p0_a.txt")
    [shard] = own_cache.rglob("*.txt")
    key = shard.read_text().split()[0].encode()
    shard.write_bytes(broken.replace(b"a" * 32, key) + b"torn " + key)
    forget()
    assert fingerprints.file_digest(folder / "p0_a.txt") == first
    assert len(counted) == 2
    forget()  # and what was written after the torn line is read again
    assert fingerprints.file_digest(folder / "p0_a.txt") == first
    assert len(counted) == 2


def test_a_cache_that_cannot_be_written_is_ignored(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDEVAL_CACHE", str(folder / "p0_a.txt"))  # a file where a folder should be
    monkeypatch.setattr(fingerprints, "_RACY_NS", -1)
    assert len(fingerprints.file_digest(folder / "p0_a.txt")) == 64


def _hash_all(arguments):
    folder, cache = arguments
    os.environ["MEDEVAL_CACHE"] = cache
    fingerprints._RACY_NS = -1
    return [fingerprints.file_digest(path) for path in sorted(Path(folder).iterdir())]


def test_several_processes_share_the_cache(tmp_path, own_cache):
    for n in range(60):
        (tmp_path / f"{n:03d}").write_text(str(n))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        results = pool.map(_hash_all, [(str(tmp_path), str(own_cache))] * 4, chunksize=1)
    assert results == [results[0]] * 4
    lines = [line for shard in own_cache.rglob("*.txt") for line in shard.read_text().splitlines() if line]
    assert all(len(line.split()) == 3 for line in lines)
    assert len(set(lines)) == 60


# The cheap check


def test_check_tells_missing_empty_and_refused_files_and_reads_nothing(folder, monkeypatch):
    (folder / "evil.txt").write_text("x")
    dataset = Words(root=folder)
    assert dataset.index
    (folder / "p0_a.txt").unlink()
    (folder / "p0_b.txt").write_text("")
    monkeypatch.setattr(Words, "read", lambda *a: pytest.fail("read"))
    assert dataset.check() == [
        "evil: evil leaves the root",
        f"p0_a: text {folder}/p0_a.txt is missing",
        f"p0_b: text {folder}/p0_b.txt is empty (0 bytes)",
    ]


def test_importing_the_readers_loads_no_heavy_library():
    code = (
        "import sys, medeval.datasets as d; [getattr(d, n) for n in d.__all__];"
        "heavy = {'nibabel', 'PIL', 'skimage', 'nilearn', 'pandas', 'pyarrow', 'scipy', 'torch'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    root = str(Path(__file__).resolve().parents[2])
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": root})
