"""Which connection gives way when there are too many."""

import pytest

from app.client import NOBODY
from app.server.connections import EXTRA, Connections, Place


class Connection:
    def __init__(self, peer):
        self.peer = peer
        self.is_open = True

    def abort(self):
        self.is_open = False


class World:
    """A table with a clock, and connections in it."""

    def __init__(self, limit=4, client_limit=100):
        self.now = 0.0
        self.table = Connections(limit, client_limit, clock=lambda: self.now)

    def open(self, peer="a", state="quiet"):
        connection = Connection(peer)
        connection.place = self.table.add(connection)
        if connection.place is Place.WITHIN:
            getattr(self.table, f"is_{state}")(connection)
        self.now += 1
        return connection

    def fill(self, *states, peer="a"):
        return [self.open(peer, state) for state in states]


@pytest.fixture
def world():
    return World()


def closed(connections):
    return [number for number, each in enumerate(connections) if not each.is_open]


def test_below_the_limit_nothing_gives_way(world):
    connections = world.fill("quiet", "owing", "served", "quiet")
    assert closed(connections) == []
    assert {each.place for each in connections} == {Place.WITHIN}


def test_the_one_without_a_request_for_longest_gives_way_first(world):
    connections = world.fill("served", "quiet", "quiet", "owing")
    world.table.is_served(connections[1])
    world.table.is_quiet(connections[1])
    assert world.open("b").place is Place.WITHIN
    assert closed(connections) == [2]
    assert world.open("b", "served").place is Place.WITHIN
    assert closed(connections) == [1, 2]


def test_next_the_one_whose_client_keeps_us_waiting_but_not_at_once(world):
    connections = world.fill("owing", "owing", "owing", "served")
    world.table.is_owing(connections[0])
    assert world.open("a").place is Place.BEYOND_ALL
    world.now += 10
    world.table.is_owing(connections[1])
    assert world.open("a").place is Place.WITHIN
    assert closed(connections) == [2]


def test_a_client_with_more_than_its_share_loses_its_newest():
    world = World(limit=8)
    hog = world.fill(*["served"] * 8)
    assert world.open("a", "served").place is Place.BEYOND_ALL
    others = world.fill(*["served"] * 6, peer="b")
    # Four each.
    assert closed(hog) == [4, 5, 6, 7]
    assert [each.place for each in others] == [Place.WITHIN] * 4 + [Place.BEYOND_ALL] * 2


def test_a_client_has_a_limit_of_its_own():
    world = World(limit=100, client_limit=2)
    first = world.fill("served", "served", "served")
    assert first[2].place is Place.BEYOND_CLIENT
    assert world.open("b").place is Place.WITHIN
    world.table.is_quiet(first[0])
    assert world.open("a").place is Place.WITHIN
    assert closed(first) == [0]


def test_a_proxy_has_none():
    world = World(limit=100, client_limit=2)
    assert {each.place for each in world.fill(*["served"] * 9, peer=NOBODY)} == {Place.WITHIN}


def test_of_those_beyond_the_limit_only_so_many_are_open(world):
    world.fill(*["served"] * 4)
    extra = [world.open() for _ in range(EXTRA + 3)]
    assert closed(extra) == [0, 1, 2]
    assert len(world.table) == 4 + EXTRA


def test_a_closed_connection_makes_room_once(world):
    connections = world.fill(*["served"] * 4)
    for _ in range(2):
        world.table.remove(connections[0])
    assert world.open(state="served").place is Place.WITHIN
    assert world.open(state="served").place is Place.BEYOND_ALL
    for each in connections:
        world.table.remove(each)
    # Notes on a connection that is gone bring nothing back.
    world.table.is_quiet(connections[0])
    world.table.is_owing(connections[1])
    assert len(world.table) == 2


def test_a_kept_connection_outlives_the_flood_of_another_client():
    world = World(limit=8)
    kept = world.open("b")
    flood = [world.open("a") for _ in range(40)]
    assert kept.is_open
    assert closed(flood) == list(range(33))
