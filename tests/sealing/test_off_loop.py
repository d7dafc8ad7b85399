"""Sealing on the event loop or in a thread, by the speed of the CPU."""

import threading

import pytest

from app.sealing import off_loop as sealing
from app.sealing.off_loop import loop_bytes, off_loop


@pytest.fixture(autouse=True)
def forgotten():
    loop_bytes.cache_clear()
    yield
    loop_bytes.cache_clear()


def test_a_part_of_more_bytes_than_the_speed_allows_goes_into_a_thread(monkeypatch):
    # A clock that says of each sample that it took 2 ms: 32 MB a second.
    ticks = iter(number * 0.002 for number in range(100))
    monkeypatch.setattr(sealing.time, "perf_counter", lambda: next(ticks))
    assert loop_bytes() == 6_553


async def test_only_what_is_large_goes_into_a_thread():
    here = threading.get_ident()
    assert await off_loop(100, threading.get_ident) == here
    assert await off_loop(loop_bytes() + 1, threading.get_ident) != here
    assert await off_loop(loop_bytes(), threading.get_ident) == here
