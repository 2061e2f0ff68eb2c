"""What is hidden cannot be had back: by hand on known tables, and by linear algebra on any."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medeval.statistics.disclosure import hidden_cells


def table(sizes, least=10, product=None):
    """Cells of a total and one family, or of a product of two with both margins; people numbered through."""
    people, start = [], 0
    for size in sizes:
        people.append(np.arange(start, start + size))
        start += size
    atoms = len(sizes)
    members, families = [np.ones(atoms, bool)], [""]
    for atom in range(atoms):
        members.append(np.arange(atoms) == atom)
        families.append("fine")
    if product:
        grid = np.arange(atoms).reshape(product)
        for line, family in [*((r, "row") for r in grid), *((c, "column") for c in grid.T)]:
            members.append(np.isin(np.arange(atoms), line))
            families.append(family)
    members = np.array(members)
    counts = np.array([sum(sizes[a] for a in np.flatnonzero(m)) for m in members])
    return members, people, counts, families, least


@pytest.mark.parametrize(
    ("sizes", "hidden"),
    [
        ([25, 30], []),
        ([3, 9, 10, 25], [3, 9]),  # twelve people together
        ([3, 10, 25], [3, 10]),  # one alone would follow from the total
        ([4, 4, 12, 25], [4, 4, 12]),  # eight people together are still few
        ([5, 30], [5, 30]),  # nothing else to hide behind
        ([4], ["total", 4]),
        ([2, 3], ["total", 2, 3]),
    ],
)
def test_groups_of_a_total(sizes, hidden):
    found = hidden_cells(*table(sizes))
    names = ["total", *sizes]
    assert [names[at] for at in np.flatnonzero(found)] == hidden


def test_a_cell_of_a_product_is_safe_from_both_of_its_margins():
    found = hidden_cells(*table([20, 20, 20, 20, 5, 20, 20, 20, 20], product=(3, 3)))
    inner = found[1:10].reshape(3, 3)
    assert inner[1, 1]
    shown_rows, shown_columns = ~found[10:13], ~found[13:16]
    assert inner[1].sum() > 1 or not shown_rows[1]
    assert inner[:, 1].sum() > 1 or not shown_columns[1]


def test_a_group_that_lies_in_another_with_few_people_beside_it_is_hidden():
    people = [np.arange(40), np.arange(40, 44)]
    members = np.array([[True, True], [True, False]])
    found = hidden_cells(members, people, np.array([44, 40]), ["wide", "narrow"], 10)
    assert found.sum() == 1  # one of the two


def test_people_who_are_in_several_groups_count_once():
    people = [np.arange(12), np.arange(12)]  # two structures of the same patients
    members = np.array([[True, True], [True, False], [False, True]])
    assert not hidden_cells(members, people, np.array([12, 12, 12]), ["", "structure", "structure"], 10).any()
    few = [np.arange(12), np.arange(5)]
    assert hidden_cells(members, few, np.array([12, 12, 5]), ["", "structure", "structure"], 10).tolist() == [False, True, True]  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_no_sum_over_few_people_is_in_the_span_of_what_is_published(data):
    shape = data.draw(st.sampled_from([(2, 2), (2, 3), (3, 3), (3, 4)]))
    sizes = data.draw(
        st.lists(st.integers(1, 30), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])
    )
    members, people, counts, families, least = table(sizes, product=shape)
    hidden = hidden_cells(members, people, counts, families, least)
    shown = members[~hidden].astype(float)
    assert (counts[~hidden] >= least).all()
    rank = np.linalg.matrix_rank(shown) if len(shown) else 0
    for cell in members[counts < least]:
        more = np.vstack([shown, cell.astype(float)])
        assert np.linalg.matrix_rank(more) == rank + 1
    for one in members[~hidden]:
        for other in members[~hidden]:
            if (one & other).sum() == other.sum() < one.sum():
                assert sum(sizes[a] for a in np.flatnonzero(one & ~other)) >= least
    assert hidden.all() or not (~hidden).any() or (counts >= least).any()
