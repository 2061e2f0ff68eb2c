"""`medeval dataset stats`: what is counted, what is measured, and the page."""

from __future__ import annotations

import pytest
from toy_volumes import volume

from medeval.datasets import SAMed2D
from medeval.datasets.building import paper
from medeval.datasets.building.statistics import statistics
from medeval.datasets.building.statistics_views import chapters
from medeval.types.views import Table


@pytest.fixture
def found(built):
    return statistics(SAMed2D(root=built(axes=("z",))))


def table(found, title):
    views = [view for chapter in chapters(found) for view in chapter.views]
    return next(view for view in views if isinstance(view, Table) and view.title == title)


def test_images_masks_patients_and_structures_are_counted(found):
    assert (found.images, len(found.patients)) == (32, 2)
    assert {name: (group.images, group.masks) for name, group in found.structures.items()} == {
        "liver": (28, 48), "spleen": (24, 24), "aorta": (32, 32),
    }  # fmt: skip
    assert found.masks == 104
    assert dict(found.axes) == {"z": 32}
    assert sum(count * images for count, images in found.masks_per_image.items()) == found.masks


def test_sizes_are_measured_on_every_image_of_a_small_data_set(found):
    assert found.sampled.images == 32
    assert dict(found.sampled.sizes) == {(20, 24): 32}
    assert found.sampled.areas["liver"][0] == pytest.approx(36 / 480, rel=0.4)
    assert found.sampled.unreadable == 0


def test_a_sample_is_the_same_each_time_and_none_opens_no_file(built):
    dataset = SAMed2D(root=built(axes=("z",)))
    first, second = (statistics(dataset, 5, threads=n).sampled.areas for n in (1, 4))
    assert first == second
    for path in (dataset.root / "masks").iterdir():
        path.unlink()
    nothing = statistics(SAMed2D(root=dataset.root), 0)
    assert (nothing.masks, nothing.sampled.images) == (104, 0)
    assert "Sizes" not in [chapter.title for chapter in chapters(nothing)]
    broken = statistics(SAMed2D(root=dataset.root), 5)
    assert broken.sampled.unreadable == 5


def test_the_tables_stand_beside_the_paper_numbers(found):
    [ct] = table(found, "By modality").rows
    assert (ct["modality"], ct["images"], ct["paper_images"]) == ("CT", 32, 2_338_753)
    assert [row["here"] for row in table(found, "Totals").rows[:2]] == [32, 104]
    assert sum(row["images"] for row in table(found, "Data sets by size").rows) == 1
    assert table(found, "Masks in an image").rows[-1]["cumulative"] == 100
    assert sum(row["masks"] for row in table(found, "Sizes of masks").rows) == 104


def test_the_paper_modalities_add_up_to_its_totals():
    assert sum(images for images, _ in paper.MODALITIES.values()) == paper.IMAGES
    assert sum(masks for _, masks in paper.MODALITIES.values()) == paper.MASKS


def test_channels_are_sub_modalities_of_one_patient(built):
    image, labels = volume()
    out = built({"a": ([image, image // 2], labels)}, source={"channels": ("T1", "T2")}, axes=("z",))
    found = statistics(SAMed2D(root=out))
    assert set(found.sub_modalities) == {"MR t1", "MR t2"}
    assert len(found.patients) == 1


def test_the_older_layout_is_counted_too(shared):
    found = statistics(SAMed2D(root=shared("sa_med2d_demo")))
    assert (found.images, found.masks) == (5, 30)
    assert found.structures["aorta"].images == 3
    assert chapters(found)
