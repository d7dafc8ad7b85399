"""The matrix of faults: how often each row runs, and the table of results.

`make faults ROUNDS=n` sets FAULT_ROUNDS and runs every row n times; without it, as in `make test`,
only the rows marked `cheap` run, once. Every row runs on brokers of its own.
"""

import os

import pytest

from tests.support.checker import SETTINGS, Checker
from tests.support.gateway_process import new_gateway, on_kafka

__all__ = ["new_gateway"]

ROUNDS = int(os.environ.get("FAULT_ROUNDS") or 0)
COUNTS = pytest.StashKey[dict]()
COLUMNS = (
    ("rounds", len),
    ("uploads", lambda rounds: sum(counts.attempted for counts in rounds)),
    ("201", lambda rounds: sum(counts.acknowledged for counts in rounds)),
    ("503", lambda rounds: sum(counts.statuses[503] for counts in rounds)),
    ("504", lambda rounds: sum(counts.statuses[504] for counts in rounds)),
    ("504 stored", lambda rounds: sum(counts.unknown_stored for counts in rounds)),
    ("deleted", lambda rounds: sum(counts.deleted for counts in rounds)),
    ("longest pause", lambda rounds: f"{max(each.pause_seconds for each in rounds):.1f} s"),
    ("slowest", lambda rounds: f"{max(each.slowest_seconds for each in rounds):.1f} s"),
    ("peak", lambda rounds: f"{max(each.peak_bytes for each in rounds) / 1e6:.0f} MB"),
)


def pytest_configure(config):
    config.addinivalue_line(
        "markers", "cheap: a row of the fault matrix that every run has time for"
    )
    config.stash[COUNTS] = {}


def pytest_generate_tests(metafunc):
    if "round_number" in metafunc.fixturenames:
        metafunc.parametrize("round_number", range(1, max(ROUNDS, 1) + 1))


def pytest_collection_modifyitems(config, items):
    if ROUNDS:
        return
    rows = [item for item in items if "tests/faults/" in item.nodeid]
    dear = [item for item in rows if not item.get_closest_marker("cheap")]
    items[:] = [item for item in items if item not in dear]
    if dear:
        config.hook.pytest_deselected(items=dear)


def pytest_terminal_summary(terminalreporter, config):
    if not (rows := config.stash[COUNTS]):
        return
    terminalreporter.section("Faults: nothing acknowledged was lost")
    widths = [max(len(row) for row in rows), *(max(len(name), 7) for name, _ in COLUMNS)]
    _line(terminalreporter, widths, ["fault", *(name for name, _ in COLUMNS)])
    for row, rounds in rows.items():
        _line(terminalreporter, widths, [row, *(str(column(rounds)) for _, column in COLUMNS)])


@pytest.fixture(autouse=True)
def repeated(round_number):
    """Run a row as often as the matrix has rounds."""


@pytest.fixture
def checker(request):
    """Make a `Checker`, whose counts go into the table once it has finished: `checker(gateway)`."""

    def make(gateway):
        made = Checker(gateway)
        row = request.node.originalname.removeprefix("test_").replace("_", " ")
        # Failed rounds are not in the table.
        made.on_finished = lambda counts: (
            request.config.stash[COUNTS].setdefault(row, []).append(counts)
        )
        return made

    return make


@pytest.fixture
def gateway_on(new_gateway):
    """Start a gateway on brokers: `gateway_on(broker, IMAGEGATE_…=…)`."""

    def start(kafka, **settings):
        return new_gateway(**(on_kafka(kafka) | SETTINGS | settings))

    return start


def _line(terminalreporter, widths, cells):
    first, *rest = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    terminalreporter.line("  ".join([first, *(cell.strip().rjust(len(cell)) for cell in rest)]))
