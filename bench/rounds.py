"""Alternating rounds, as machines are noisy, and tables of their times."""

import asyncio
import statistics
import time

ROUNDS = 5
# Requests at once, in every round of every side.
IN_FLIGHT = 8


async def medians(sides, clock=time.perf_counter):
    """Run all sides in turns, once to warm up and then `ROUNDS` times.

    Args:
        sides: Functions without arguments, by name; each does the work of one round. What one has
            to `prepare` for it is not counted.
        clock: Counts the seconds.

    Returns:
        The median of the seconds that a round took, by name.
    """
    taken = {name: [] for name in sides}
    for _ in range(1 + ROUNDS):
        for name, run in sides.items():
            if prepare := getattr(run, "prepare", None):
                prepare()
            started = clock()
            await run()
            taken[name].append(clock() - started)
    return {name: statistics.median(seconds[1:]) for name, seconds in taken.items()}


async def spread(work, items, workers):
    """Call `work(worker, item)` for every item; each worker takes the next one when it is free."""
    rest = iter(items)

    async def take(worker):
        for item in rest:
            await work(worker, item)

    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(take(worker))


def show(title, rows):
    """Print rows, which are dictionaries with the same keys, as a table under a title."""
    head = list(rows[0])
    lines = [head, *([row[name] for name in head] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    print(f"\n{title}\n")
    for line in lines:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))
    print(flush=True)


def rates(size_bytes, count, seconds):
    """Return table cells: the megabytes a second of each side."""
    return {name: f"{size_bytes * count / each / 1e6:,.1f}" for name, each in seconds.items()}


def ratios(name, seconds, others):
    """Return table cells: the speed of one side as a part of that of others."""
    return {f"{name}/{other}": f"{seconds[other] / seconds[name]:.2f}" for other in others}
