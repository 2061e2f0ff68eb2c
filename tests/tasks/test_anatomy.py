"""Structures fall into the groups of SAM-Med3D's tables by the names that datasets give them."""

import pytest

from medeval.tasks.prompted_segmentation.anatomy import anatomy, seen


@pytest.mark.parametrize(
    ("name", "group", "known"),
    [
        ("kidney_left", "abdomen & thorax", "seen"),
        ("Left kidney", "abdomen & thorax", "seen"),
        ("kidney_tumor", "lesion", "seen"),
        ("rib_left_3", "bone", "seen"),
        ("rib#7", "bone", "seen"),
        ("vertebrae_L5", "bone", "seen"),
        ("heart_ventricle_left", "cardiac", "seen"),
        ("lateral ventricle", None, None),
        ("brainstem", "brain", "seen"),
        ("gluteus_maximus_left", "muscle", "seen"),
        ("deep grey matter", "unseen organ", "unseen"),
        ("aorta", "abdomen & thorax", "seen"),
        ("aorta_tree", "unseen organ", "unseen"),
        ("hepatic tumor", "unseen lesion", "unseen"),
        ("disk", None, None),
    ],
)
def test_names_and_groups(name, group, known):
    assert (anatomy(name), seen(name)) == (group, known)
