"""Conditions of a comparison, grouped by the images that both records have under them."""

from __future__ import annotations

from harness.report.comparison import SharedGroup, shared_groups
from harness.types import Condition

FOG, SNOW = Condition("fog/5", "fog"), Condition("snow/5", "snow")
OWN = Condition("sketch", "sketch")
CLEAN = Condition("clean", "clean", scored=False)


def cells(**images: str) -> set[tuple[str, str]]:
    """(condition, id) of images named by one letter each."""
    names = {"fog": FOG, "snow": SNOW, "own": OWN, "clean": CLEAN}
    return {(names[key].name, image) for key, letters in images.items() for image in letters}


def test_conditions_that_show_the_same_images_are_one_group_of_what_all_have() -> None:
    (group,) = shared_groups([FOG, SNOW], cells(fog="abc", snow="bcd"))
    assert group == SharedGroup(("b", "c"), (FOG, SNOW)) and group.scored


def test_conditions_with_images_of_their_own_and_unscored_ones_are_groups_by_themselves() -> None:
    groups = shared_groups([CLEAN, FOG, OWN, SNOW], cells(fog="ab", snow="ab", own="yx", clean="ab"))
    assert groups == [
        SharedGroup(("a", "b"), (FOG, SNOW)),
        SharedGroup(("x", "y"), (OWN,)),
        SharedGroup(("a", "b"), (CLEAN,)),
    ]
    assert [group.scored for group in groups] == [True, True, False]


def test_a_condition_without_a_common_image_is_in_no_group() -> None:
    assert shared_groups([FOG, SNOW], cells(snow="a")) == [SharedGroup(("a",), (SNOW,))]


def test_the_table_of_a_group_has_a_row_per_image_and_a_column_per_condition() -> None:
    group = SharedGroup(("a", "b"), (FOG, SNOW))
    answers = {("fog/5", "a"): True, ("fog/5", "b"): False, ("snow/5", "a"): False, ("snow/5", "b"): False}
    table = group.table({**answers, ("clean", "a"): True})
    assert table.tolist() == [[True, False], [False, False]] and table.dtype == bool
