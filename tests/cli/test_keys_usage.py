"""`imagegate keys usage`: how many images each sealing key still holds."""

import asyncio
import base64

import pytest

from app.cli.main import main
from app.log import EVENTS, Record
from app.records.stated_key import WRAPPED_KEY
from app.telemetry import logs
from tests.support.in_process import in_process
from tests.support.kafka_logs import new_prefix
from tests.support.sealing import K1, K2, OTHER, SMALL, ring, sealing, upload


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def kafka_section(request):
    """The section of a log of the test's own, on each engine."""
    if request.param == "embedded":
        return {}
    kafka = request.getfixturevalue("kafka")
    return {
        "bootstrap_servers": kafka.bootstrap_servers,
        "topic_prefix": new_prefix(),
        "partitions": 3,
    }


@pytest.fixture
def usage(kafka_section, tmp_path, monkeypatch, capsys):
    """Run the command with these keys; return its status and the rows that it printed."""
    monkeypatch.setattr(logs, "configure", lambda _: None)
    monkeypatch.setenv("IMAGEGATE_DATA_DIR", str(tmp_path / "data"))
    for name, value in kafka_section.items():
        monkeypatch.setenv(f"IMAGEGATE_KAFKA__{name.upper()}", str(value))

    def run(keys):
        monkeypatch.setenv("IMAGEGATE_SEALING__KEYS", keys)
        capsys.readouterr()
        status = main(["keys", "usage"])
        lines = capsys.readouterr().out.splitlines()
        rows = [line.split() for line in lines if line.endswith((" yes", " no"))]
        return status, {kek: (count, here) for kek, count, here in rows}

    return run


async def fill(folder, kafka_section):
    log = {"kafka": kafka_section} if kafka_section else {}
    async with in_process(folder, **log) as client:
        await upload(client, SMALL)
    async with in_process(folder, **log, **sealing(k1=K1)) as client:
        stored = [await upload(client, SMALL) for _ in range(3)]
    async with in_process(folder, **log, **sealing(k2=K2, k1=K1)) as client:
        await upload(client, SMALL)
        assert (await client.delete(stored[0]["url"])).status_code == 204


async def overtake(folder, kafka_section):
    log = {"kafka": kafka_section} if kafka_section else {}
    async with in_process(folder, **log, **sealing(k1=K1)) as client:
        log = client.gateway.log
        append = log.append

        async def overtaken(topic, records, *deadline):
            if topic == EVENTS:
                [own] = records
                claimed = b"k2:" + base64.b64encode(bytes(40))
                headers = tuple((n, claimed if n == WRAPPED_KEY else v) for n, v in own.headers)
                await append(EVENTS, [Record(own.key, own.value, headers)])
            return await append(topic, records, *deadline)

        log.append = overtaken
        await upload(client, SMALL)


def test_an_event_that_only_says_so_moves_no_image_to_another_key(usage, kafka_section, tmp_path):
    asyncio.run(overtake(tmp_path / "data", kafka_section))
    keys = {"k1": ("1", "yes"), "k2": ("0", "yes")}
    assert usage(ring(k2=K2, k1=K1)) == (0, keys)


def test_it_counts_what_is_stored_and_names_a_key_that_is_not_here(usage, kafka_section, tmp_path):
    asyncio.run(fill(tmp_path / "data", kafka_section))
    both = {"k1": ("2", "yes"), "k2": ("1", "yes")}
    assert usage(ring(k2=K2, k1=K1)) == (0, both)
    assert usage(ring(k3=OTHER, k2=K2)) == (
        1,
        {"k1": ("2", "no"), "k2": ("1", "yes"), "k3": ("0", "yes")},
    )
