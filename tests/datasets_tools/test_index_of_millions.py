"""Indices that do not fit in memory: read as a stream, sorted in runs, cached as Parquet, chosen from without a list."""

from __future__ import annotations

import io
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medeval.datasets import SAMed2D, sa_med2d
from medeval.datasets.sa_med2d_entries import Entry, InMemory, OnDisk, cached
from medeval.datasets.sa_med2d_merge import Row, in_order
from medeval.datasets.sa_med2d_select import StoredIndex
from medeval.datasets.sa_med2d_stream import stream_object, stream_pairs
from medeval.types import DatasetError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Dribble(io.StringIO):
    """A stream that gives a few characters at a time, so that every value is cut somewhere."""

    def read(self, size: int | None = -1) -> str:
        return super().read(3)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.sampled_from([None, 1]), st.booleans())
def test_the_stream_reads_what_json_reads(table, indent, ascii_only):
    text = json.dumps(table, indent=indent, ensure_ascii=ascii_only)
    assert dict(stream_object(Dribble(text), "x.json")) == table
    assert dict(stream_object(io.StringIO(f"\n {text}\t\n"), "x.json")) == table


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", '{"a"', '{"a":', '{"a": 1', '{"a": 1,', '{"a": 1,}', '{"a" 1}', '{"a": 1} {}', '{1: 2}', "{,}",
     '{"a": [1, }', '{"a": "b}', "nonsense", '{"a": 1 "b": 2}'],
)  # fmt: skip
def test_text_that_is_no_json_object_names_the_file(text):
    with pytest.raises(DatasetError, match=r"x\.json: cannot be read as JSON"):
        list(stream_object(Dribble(text), "x.json"))


def test_a_broken_value_is_not_waited_for_to_the_end_of_a_large_file(monkeypatch):
    from medeval.datasets import sa_med2d_stream

    monkeypatch.setattr(sa_med2d_stream, "LONGEST", 1000)
    monkeypatch.setattr(sa_med2d_stream, "CHUNK", 100)
    stream = io.StringIO('{"a": ["b", ' + " " * 100_000)
    with pytest.raises(DatasetError, match="cannot be read as JSON"):
        list(stream_object(stream, "x.json"))
    assert stream.tell() < 5000


def test_masks_that_follow_each_other_come_together():
    text = json.dumps({"m1": "a", "m2": "a", "m3": "b", "m4": "a", "c": ["m5"], "d": []})
    assert list(stream_pairs(io.StringIO(text), "x")) == [
        ("a", ["m1", "m2"]), ("b", ["m3"]), ("a", ["m4"]), ("c", ["m5"]), ("d", []),
    ]  # fmt: skip


@pytest.mark.parametrize("run", [1, 3, 7, 1000])
def test_rows_are_sorted_in_runs_as_in_memory(run):
    rows = [Row(f"s{n:03d}", n % 2, n, f"images/s{n:03d}.png", ("m",), None, [1.0, 2.5]) for n in range(250)]
    shuffled = random.Random(0).sample(rows, len(rows))
    assert [Row(*row).stem for row in in_order(iter(shuffled), run)] == [row.stem for row in rows]


def entries(count):
    for n in range(count):
        stem = f"ct_00--T--c_{n:05d}--z_0001"
        masks = (f"masks/{stem}--0000_000.png", "odd/place.png", f"masks/{stem}--0001_000.tif", "/etc/passwd")
        image = f"images/{stem}.png" if n % 2 else f"demo/images/{stem}.jpg"
        yield Entry(
            stem,
            image,
            masks,
            ("b.json",) if n % 3 else ("a.json", "b.json"),
            None if n % 5 else "p",
            (1.0, n + 0.5),
        )


def test_the_cached_file_gives_back_every_entry(own_cache):
    held, kept = InMemory(entries(3000)), cached(["key"], ["a.json", "b.json"], entries(3000))
    assert list(kept) == list(held)
    assert len(kept) == 3000
    for n in (0, 1, 1023, 1024, 2999):
        assert kept.at(n) == held.at(n)
        assert kept.position(held.at(n).stem) == n
    for stem in ("", "ct_00--T--c_00000--z_0002", "zzz"):
        with pytest.raises(KeyError):
            kept.position(stem)
    [file] = own_cache.rglob("*.parquet")

    def never():
        raise AssertionError("read again")
        yield

    assert list(cached(["key"], ["a.json", "b.json"], never())) == list(held)
    file.write_bytes(file.read_bytes()[:500])
    assert list(cached(["key"], ["a.json", "b.json"], entries(3000))) == list(held)
    assert len(OnDisk(file)) == 3000


@pytest.fixture
def large(tmp_path):
    """An index of 5000 images in no order, and a sidecar of some; files there are none."""
    index = {}
    for n in random.Random(1).sample(range(5000), 5000):
        modality = ("ct_00", "mr_t1", "mr_t2")[n % 3]
        stem = f"{modality}--{'AB'[n % 2]}--case_{n // 40:03d}--z_{n % 40:04d}"
        index[f"images/{stem}.png"] = [f"masks/{stem}--{c:04d}_000.png" for c in range(n % 3)]
    (tmp_path / "SAMed2D_v1.json").write_text(json.dumps(index))
    first = sorted(index)[:100]
    side = [
        {"image": name, "patient": f"person {n % 7}", "spacing": [1, 0.5]} for n, name in enumerate(first)
    ]
    (tmp_path / "cases.jsonl").write_text("\n".join(json.dumps(line) for line in side))
    (tmp_path / "SAMed2D_v1_class_mapping_id.json").write_text(
        json.dumps({"A": {"liver": "0000"}, "B": {"cyst": "0001"}})
    )
    return tmp_path


@pytest.fixture
def tiny_memory(monkeypatch):
    monkeypatch.setattr(sa_med2d, "IN_MEMORY", 0)
    monkeypatch.setattr(sa_med2d, "HELD", 20)


CHOICES = [
    {}, {"limit": 30}, {"limit": 3}, {"seed": 4}, {"seed": 4, "limit": 25}, {"split": "2/3"}, {"split": "1/4", "seed": 2},
    {"select": {"modality": "CT"}}, {"select": {"modality": ["MR"], "source": "A"}, "seed": 1, "split": "1/2", "limit": 100},
    {"select": {"id": ["ct_00--*z_0003", "mr_t1--B--case_001--z_0015"]}}, {"select": {"patient": "person 3"}},
    {"patient_id": r"case_\d\d\d", "split": "1/5"}, {"metadata": {"site": "X"}, "select": {"site": "X", "axis": "z"}, "limit": 40},
]  # fmt: skip


@pytest.mark.parametrize("options", CHOICES)
def test_choosing_from_the_stream_is_choosing_from_the_list(large, options, request):
    plain = SAMed2D(root=large, **options).index
    request.getfixturevalue("tiny_memory")
    stored = SAMed2D(root=large, **options).index
    assert stored.ids == plain.ids
    assert list(stored) == list(plain)
    assert len(stored) == len(plain)
    assert stored[-1] == plain[-1]
    assert stored[1:3] == plain[1:3]
    assert stored.info(plain.ids[2]) == plain.info(plain.ids[2])
    assert stored.patients_known == plain.patients_known
    assert ("nothing" in stored, plain.ids[0] in stored) == (False, True)
    outside = set(SAMed2D(root=large).index.ids) - set(plain.ids)
    assert not any(case_id in stored for case_id in sorted(outside)[:50])


def test_a_large_index_is_not_held(large, tiny_memory):
    assert isinstance(SAMed2D(root=large).index, StoredIndex)
    case = SAMed2D(root=large).index[0]
    assert (case.patient, case.structures) == ("person 0", ())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"select": {"modality": "PET"}}, "leave none of 5000 cases"),
        ({"select": {"id": "nothing"}}, "select names the id 'nothing'"),
        ({"patient_id": "case", "split": "1/9"}, "part 1/9 is empty: there are only 1 patients"),
        ({"patient_id": "xyz"}, "finds nothing in case id"),
    ],
)
def test_a_choice_that_leaves_nothing_is_told(large, tiny_memory, options, says):
    with pytest.raises(DatasetError, match=says) as told:
        list(SAMed2D(root=large, **options).index)
    assert str(large) in str(told.value)


def test_a_changed_index_is_read_anew(large, tiny_memory):
    assert len(SAMed2D(root=large).index) == 5000
    index = json.loads((large / "SAMed2D_v1.json").read_text())
    index["images/ct_00--A--new--z_0000.png"] = []
    (large / "SAMed2D_v1.json").write_text(json.dumps(index))
    assert len(SAMed2D(root=large).index) == 5001


@pytest.mark.parametrize(
    "line", ['{"image": 3}', '{"image": "a", "spacing": [1]}', '{"image": "a", "patient": 4}', "[]", "{"]
)
def test_a_broken_sidecar_names_its_line(large, line):
    (large / "cases.jsonl").write_text('{"image": "images/x.png"}\n' + line + "\n")
    with pytest.raises(DatasetError, match=r"cases\.jsonl, line 2"):
        SAMed2D(root=large).index  # noqa: B018
