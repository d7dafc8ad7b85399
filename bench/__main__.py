"""Measure everything, on the embedded log and on Kafka, and print the tables.

    python -m bench [host:port] [--only ingest delivery streams batches memory log sealing erasure
                    access] [--log embedded kafka] [--against COMMIT]

Without an address, an Apache Kafka is started for the measurements. With `--against`, the gateway
of another commit is measured beside this one, and nothing else.
"""

import argparse
import asyncio
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from uvicorn.loops.auto import auto_loop_factory

from bench import access, against, batches, delivery, erasure, ingest, log, memory, sealing, streams
from bench.rounds import IN_FLIGHT, ROUNDS, show
from bench.targets import Embedded, Kafka, removing_topics
from dev.kafka.broker import Broker
from dev.kafka.jars import JARS
from dev.maven import JarsUnavailableError

BENCHES = {
    "ingest": ("Uploads in MB/s", ingest),
    "delivery": ("Downloads in MB/s", delivery),
    "streams": ("Watchers of the events", streams),
    "batches": ("Frames a second of one camera", batches),
    "memory": ("Peak memory", memory),
}
# Those that need a Kafka, and print several tables.
KAFKA = {"log": log, "sealing": sealing, "erasure": erasure}
ALL = [*BENCHES, *KAFKA, "access"]
LOGS = ("embedded", "kafka")


def main():
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("kafka", nargs="?", help="host:port of a Kafka; by default its own")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--log", nargs="+", choices=LOGS, default=list(LOGS))
    parser.add_argument("--against", metavar="COMMIT", help="what a request costs now and then")
    options = parser.parse_args()
    if commit := options.against:
        BENCHES[commit] = (f"Today against {commit}", against.Against(commit))
        options.only = [commit]
    print(f"Medians of {ROUNDS} alternating rounds, {IN_FLIGHT} requests at once.")
    started = time.monotonic()
    # The loop on which the gateway runs, too.
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        if "access" in options.only:
            with tempfile.TemporaryDirectory() as folder:
                show("Authentication, CPU a request", runner.run(access.measure(Path(folder))))
        if "embedded" in options.log:
            runner.run(_measure(Embedded(), options.only))
        if "kafka" in options.log:
            with _broker(options.kafka) as servers:
                if servers:
                    runner.run(_measure_kafka(servers, options.only))
    print(f"It took {time.monotonic() - started:.0f} seconds.")


async def _measure(target, only):
    for name in (each for each in only if each in BENCHES):
        title, bench = BENCHES[name]
        with tempfile.TemporaryDirectory() as folder:
            show(f"{title}, {target.name}", await bench.measure(target, Path(folder)))


async def _measure_kafka(servers, only):
    async with removing_topics(Kafka(servers)) as target:
        await _measure(target, only)
        for name in (each for each in KAFKA if each in only):
            with tempfile.TemporaryDirectory() as folder:
                async for title, rows in KAFKA[name].tables(target, Path(folder)):
                    show(title, rows)


@contextmanager
def _broker(given):
    """Yield the address of a Kafka, or None where there is none."""
    if given:
        yield given
    elif why_not := _why_no_broker():
        print(f"Not measured on Kafka: {why_not}.")
        yield None
    else:
        with tempfile.TemporaryDirectory() as folder, Broker(Path(folder)) as broker:
            yield broker.bootstrap_servers


def _why_no_broker():
    if missing := JARS.missing_tools():
        return ", ".join(missing)
    try:
        JARS.fetch()
    except JarsUnavailableError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    main()
