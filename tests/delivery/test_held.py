"""Pictures that watchers hold: each counts once, and the oldest gives way."""

import pytest

from app.delivery.held import HeldPictures
from app.errors import OverloadedError


def test_a_picture_counts_once_and_until_nobody_holds_it():
    held = HeldPictures(100)
    picture = held.hold(bytes(60))
    holders = [picture] * 20
    assert held.held_bytes == 60
    del holders, picture
    assert held.held_bytes == 0


def test_the_oldest_gives_way_and_newer_ones_stay():
    held = HeldPictures(100)
    pictures = [held.hold(bytes(40)) for _ in range(3)]
    assert held.held_bytes == 80
    assert [picture.is_there for picture in pictures] == [False, True, True]
    with pytest.raises(OverloadedError):
        _ = pictures[0].jpeg
    assert len(pictures[2].jpeg) == 40
    pictures.clear()
    assert held.held_bytes == 0


def test_one_that_is_larger_than_the_budget_is_held_alone():
    held = HeldPictures(100)
    small, large = held.hold(bytes(40)), held.hold(bytes(400))
    assert (small.is_there, large.is_there) == (False, True)
    newest = held.hold(bytes(40))
    assert (large.is_there, newest.is_there) == (False, True)
    assert held.held_bytes == 40
