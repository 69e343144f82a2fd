"""Whether neighbours come from one site by chance, and how alike is alike: worked out by hand."""

import numpy as np
import pytest

from search.concentration import Concentration, Groups, at_least, concentration
from search.likeness import Likeness


def test_the_chance_of_a_crowd_by_hand() -> None:
    # of 10 patients 3 are of the group, 4 are drawn: 210 ways, of which 3·21 + 7 hold two or more, 7 hold three
    assert at_least(3, drawn=4, members=3, total=10) == 7 / 210
    assert at_least(2, drawn=4, members=3, total=10) == 70 / 210
    assert at_least(0, drawn=4, members=3, total=10) == 1
    assert at_least(4, drawn=4, members=3, total=10) == 0
    assert at_least(1, drawn=3, members=4, total=5) == 1  # one only is of another group


def test_the_chance_is_that_of_scipy() -> None:
    from scipy.stats import hypergeom

    rng = np.random.default_rng(3)
    cases = [(12, 1000, 300, 20_000), (9, 10, 500, 20_000), (10, 10, 12, 13)]
    for _ in range(200):
        total = int(rng.integers(1, 200))
        members, drawn = int(rng.integers(0, total + 1)), int(rng.integers(0, total + 1))
        cases.append((int(rng.integers(0, drawn + 1)), drawn, members, total))
    for inside, drawn, members, total in cases:
        expected = hypergeom.sf(inside - 1, total, members, drawn)
        assert at_least(inside, drawn=drawn, members=members, total=total) == pytest.approx(
            expected, rel=1e-8, abs=1e-14
        )


def groups(text: str) -> Groups:
    """One letter a row; a dot where it is not recorded."""
    return Groups.of(np.array([None if letter == "." else letter for letter in text], object))


def test_the_largest_group_beside_its_part_of_the_archive() -> None:
    found = concentration("site", groups("AAABBBBCCC"), np.array([0, 1, 2, 3]), np.arange(10))
    chance = 3 * (7 / 210)  # any of three sites could have been it
    assert found == Concentration("site", "A", 3, 4, 3, 10, chance) and not found.suspicious


def test_a_crowd_from_a_small_site_is_suspicious() -> None:
    found = concentration("site", groups("A" * 4 + "B" * 16), np.arange(4), np.arange(20))
    assert found is not None and found.chance == pytest.approx(2 / 4845) and found.suspicious


def test_a_crowd_from_the_only_site_is_not() -> None:
    found = concentration("site", groups("A" * 30), np.arange(10), np.arange(30))
    assert found is not None and found.chance == 1 and not found.suspicious


def test_unlikely_but_not_most_of_them_is_not_called_so() -> None:
    found = concentration(
        "site", groups("A" * 4 + "B" * 500 + "C" * 500), np.array([0, 1, 2, 3, 4, 5, 6, 600, 601, 602]), np.arange(1004)
    )
    assert found is not None and (found.group, found.neighbours, found.neighbours_known) == ("A", 4, 10)
    assert found.chance < 1e-6 and not found.suspicious


def test_of_groups_equally_large_the_rarest_is_told() -> None:
    found = concentration("site", groups("AAAAABB"), np.array([0, 1, 5, 6]), np.arange(7))
    assert found is not None and found.group == "B"


def test_what_is_not_recorded_counts_on_neither_side() -> None:
    found = concentration("site", groups("AAB..."), np.array([0, 1, 3]), np.array([0, 1, 2, 3, 4]))
    assert found == Concentration("site", "A", 2, 2, 2, 3, 2 * (1 / 3))
    assert concentration("site", groups("AB.."), np.array([2, 3]), np.arange(4)) is None
    assert concentration("site", groups("AB"), np.array([], np.int64), np.arange(2)) is None


def test_a_group_that_no_eligible_patient_has_is_not_tested() -> None:
    found = concentration("site", groups("AABBBBBBC"), np.array([0, 1]), np.arange(8))
    assert found is not None and found.chance == pytest.approx(2 / 28)  # for A and B, not for C


# --- likeness


def test_a_percentile_lies_between_the_points() -> None:
    likeness = Likeness([place / 100 for place in range(101)])
    assert likeness.percentile(0.255) == pytest.approx(25.5)
    assert (likeness.percentile(-0.3), likeness.percentile(0), likeness.percentile(1), likeness.percentile(1.2)) == (
        0,
        0,
        100,
        100,
    )
    assert likeness.unlike == pytest.approx(0.01) and likeness.highest == 1


def test_equal_points_count_whole() -> None:
    likeness = Likeness([0, 0.5, 0.5, 0.5, 1])  # the 0th, 25th, 50th, 75th and 100th percentile
    assert [likeness.percentile(value) for value in (0.25, 0.5, 0.75)] == pytest.approx([12.5, 75, 87.5])
