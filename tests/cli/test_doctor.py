"""`imagegate doctor` on the embedded log, and how findings are printed."""

import json
import shutil
import sys

import pytest
from structlog.testing import capture_logs

from app.cli import doctor
from app.cli import main as cli
from app.codec.pool import CodecPool
from app.codec.process import CodecProcess, Start
from app.codec.sandbox import Part
from app.log.findings import Finding, Level, as_table
from app.log.sqlite.database import DATABASE_NAME
from app.log.sqlite.log import SqliteLog
from app.sealing.settings import SealingSettings
from app.server.settings import ServerSettings
from app.telemetry import logs
from tests.support import vault
from tests.support.authority import DAY, NOW, Authority
from tests.support.sealing import K1, K2, ring


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


async def examine(folder):
    found = await doctor.examine(SqliteLog(folder), folder, embedded=True)
    return {finding.subject: finding for finding in found}


@pytest.fixture
async def used(folder):
    """The folder of a gateway that has stopped."""
    log = SqliteLog(folder)
    await log.start()
    await log.stop()
    return folder


async def test_before_the_first_start_nothing_is_wrong_and_nothing_is_made(folder):
    found = await examine(folder)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert "the first start creates" in found["log"].found
    assert not folder.exists()


async def test_a_sound_log_stores_a_record_in_every_partition_and_returns_it(used):
    found = await examine(used)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert "wrote a record to 12 partitions and read it back" in found["round trip"].found


async def test_what_the_round_trip_wrote_is_erased(used):
    await examine(used)
    assert doctor.PIECE not in (used / DATABASE_NAME).read_bytes()


async def test_a_folder_in_use_is_looked_at_and_left_alone(folder):
    log = SqliteLog(folder)
    await log.start()
    found = await examine(folder)
    await log.stop()
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert "a gateway uses the folder" in found["round trip"].found


async def test_a_damaged_database_is_wrong(used):
    path = used / DATABASE_NAME
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(data)
    found = await examine(used)
    assert found["log"].level is Level.WRONG
    assert "restore it from a backup" in found["log"].remedy
    assert found["round trip"].level is Level.WARNING


async def test_a_full_disk_is_warned_of(used, monkeypatch):
    usage = shutil.disk_usage(used)._replace(free=999_999_999)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert (await examine(used))["data folder"].level is Level.WARNING


async def test_a_folder_that_cannot_be_written_is_wrong(used, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda *_: False)
    assert (await examine(used))["data folder"].level is Level.WRONG


def make_pool(memory_bytes=1_500_000_000, **options):
    return CodecPool(workers=1, deadline_seconds=10, start=Start(memory_bytes), **options)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux confines the workers")
class TestCodecWorkers:
    async def test_what_confines_them_is_said(self):
        finding = await doctor.examine_workers(make_pool())
        assert finding.level is Level.OK
        assert all(part in finding.found for part in Part)

    async def test_a_kernel_that_lacks_a_part_is_warned_of_and_wrong_where_all_are_required(
        self, monkeypatch
    ):
        async def less(worker):
            await ready(worker)
            return (Part.NOT_DUMPABLE,)

        ready = CodecProcess.ready
        monkeypatch.setattr(CodecProcess, "ready", less)
        finding = await doctor.examine_workers(make_pool())
        assert finding.level is Level.WARNING
        assert "not by no-new-privileges, landlock, seccomp" in finding.found
        finding = await doctor.examine_workers(make_pool(required=True))
        assert finding.level is Level.WRONG

    async def test_workers_that_do_not_start_are_wrong(self):
        finding = await doctor.examine_workers(make_pool(memory_bytes=10_000_000))
        assert finding.level is Level.WRONG
        assert "10,000,000 bytes" in finding.found


@pytest.mark.parametrize(
    ("drift", "said"), [(-3600.2, "3,600 seconds ahead of"), (7.0, "7 seconds behind")]
)
def test_a_clock_that_is_off_is_warned_of(drift, said):
    clock = doctor.compare_clocks(drift)
    assert clock.level is Level.WARNING
    assert said in clock.found


def test_the_table_has_a_line_a_finding_and_the_remedy_below():
    table = as_table(
        [
            Finding(Level.OK, "log", "is sound"),
            Finding(Level.WRONG, "data folder", "cannot be written", "mend it"),
        ]
    )
    assert table.splitlines() == [
        "ok       log          is sound",
        "wrong    data folder  cannot be written",
        "                      -> mend it",
        "",
        "1 ok, 0 warning, 1 wrong",
    ]


def test_the_exit_status_is_for_scripts(used_by_cli, capsys):
    with capture_logs():  # the command's own configuration is off, and shows errors alone
        assert cli.main(["doctor", "--json", "--data-dir", str(used_by_cli)]) == 0
    assert {each["level"] for each in json.loads(capsys.readouterr().out)} == {"ok"}
    (used_by_cli / DATABASE_NAME).write_bytes(b"no database at all" * 1000)
    assert cli.main(["doctor", "--data-dir", str(used_by_cli)]) == 1
    assert "wrong    log" in capsys.readouterr().out


def test_topics_on_the_embedded_log_says_that_there_are_none(monkeypatch, capsys):
    monkeypatch.setattr(logs, "configure", lambda _: None)
    assert cli.main(["topics"]) == 2
    assert "has no topics" in capsys.readouterr().err


@pytest.fixture
def used_by_cli(folder, monkeypatch):
    monkeypatch.setattr(logs, "configure", lambda _: None)
    folder.mkdir()
    return folder


class TestCertificate:
    @pytest.mark.parametrize(
        ("days", "level", "said"),
        [
            (90, Level.OK, "until"),
            (5, Level.WARNING, "until"),
            (-1, Level.WRONG, "expi"),
        ],
    )
    def test_it_says_when_it_expires(self, tmp_path, days, level, said):
        file = Authority(tmp_path / "ca.pem").issue(tmp_path / "c.pem", "a", until=NOW + days * DAY)
        http = ServerSettings(tls_cert_file=file, tls_key_file=file)
        [found] = doctor.examine_certificate(http, NOW)
        assert (found.subject, found.level) == ("certificate", level)
        assert said in found.found
        assert (found.remedy == "") == (level is Level.OK)

    def test_a_key_that_is_anothers_is_wrong(self, tmp_path):
        authority = Authority(tmp_path / "ca.pem")
        one, two = (authority.issue(tmp_path / f"{name}.pem", name) for name in "ab")
        http = ServerSettings(tls_cert_file=one, tls_key_file=two)
        [found] = doctor.examine_certificate(http, NOW)
        assert found.level is Level.WRONG
        assert "is not the key of the certificate" in found.found

    def test_half_a_pair_is_wrong(self, tmp_path):
        [found] = doctor.examine_certificate(ServerSettings(tls_key_file=tmp_path), NOW)
        assert (found.level, "go together" in found.found) == (Level.WRONG, True)

    def test_without_one_there_is_nothing_to_say(self):
        assert doctor.examine_certificate(ServerSettings(), NOW) == []


async def test_a_sealing_key_is_tried_and_a_vault_that_does_not_answer_is_wrong():
    assert await doctor.examine_sealing(SealingSettings()) == []
    [found] = await doctor.examine_sealing(SealingSettings(keys=ring(k2=K2, k1=K1)))
    assert (found.level, "by k2" in found.found) == (Level.OK, True)
    with vault.serving() as server:
        [found] = await doctor.examine_sealing(SealingSettings(**server.sealing()))
        assert (found.level, "vault:imagegate:v1" in found.found) == (Level.OK, True)
        server.forbidden = "decrypt"
        [found] = await doctor.examine_sealing(SealingSettings(**server.sealing()))
        assert (found.level, "status 403" in found.found) == (Level.WRONG, True)
        server.is_sealed = True
        [found] = await doctor.examine_sealing(SealingSettings(**server.sealing()))
    assert (found.level, "status 503" in found.found) == (Level.WRONG, True)
    assert "IMAGEGATE_SEALING__VAULT_" in found.remedy
