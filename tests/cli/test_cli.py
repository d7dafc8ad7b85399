"""The command line, where it needs no process of its own."""

import asyncio
import json
import socket
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from app import __version__
from app.cli import main as cli
from app.cli import serve as command
from app.log import EVENTS
from app.log.sqlite.log import SqliteLog
from app.server import serve as server
from app.settings import Settings, load
from app.telemetry import logs
from tests.support.facts import NEWER


class Served(NamedTuple):
    """The arguments of a call to serve."""

    settings: Settings
    destination: str
    exposable: bool


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Leave the logs of the test run as they are."""
    monkeypatch.setattr(logs, "configure", lambda _: None)


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Run the command; returns its status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def main(*arguments):
        try:
            status = cli.main(arguments)
        except SystemExit as ended:
            status = ended.code
        return status, *capsys.readouterr()

    return main


def _app(settings, *, insecure):
    """Return what `imagegate serve` reads of an application."""
    access = SimpleNamespace(is_configured=False)
    return SimpleNamespace(settings=settings, state=SimpleNamespace(access=access))


@pytest.fixture
def served(monkeypatch):
    """Have `imagegate serve` note its settings instead of serving."""
    calls = []

    def serve(app, http, destination, *, exposable):
        assert http is app.settings.http
        calls.append(Served(app.settings, destination, exposable))
        return 0

    monkeypatch.setattr(command, "create_app", _app)
    monkeypatch.setattr(command, "serve", serve)
    return calls


@pytest.fixture
def used_port():
    """A port of this machine that is in use."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_the_version_is_the_packages(run):
    assert run("--version") == (0, f"imagegate {__version__}\n", "")


@pytest.mark.parametrize("arguments", [(), ("paint",), ("serve", "--prot", "1"), ("serve", "x")])
def test_a_wrong_command_is_explained_with_status_2(run, arguments):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "usage: imagegate" in err


def test_an_unknown_option_is_explained_with_the_usage_of_its_command(run):
    status, out, err = run("sweep", "--older", "3")
    assert (status, out) == (2, "")
    assert "usage: imagegate sweep" in err
    assert "--older" in err


def test_openapi_prints_the_document(run):
    status, out, _ = run("openapi")
    assert status == 0
    assert json.loads(out)["info"]["version"] == __version__


class TestServe:
    def test_options_win_over_the_environment(self, run, served, monkeypatch):
        monkeypatch.setenv("IMAGEGATE_HTTP__PORT", "9000")
        monkeypatch.setenv("IMAGEGATE_HTTP__GRACE_SECONDS", "7")
        run("serve", "--port", "0", "--host", "::1", "--data-dir", "/srv/d", "--kafka", "k:9092")
        [(settings, _, exposable)] = served
        assert (settings.http.port, settings.http.host) == (0, "::1")
        assert settings.http.grace_seconds == 7
        assert str(settings.data_dir) == "/srv/d"
        assert settings.kafka.bootstrap_servers == "k:9092"
        assert exposable is False

    def test_without_options_the_environment_decides(self, run, served, monkeypatch):
        monkeypatch.setenv("IMAGEGATE_HTTP__PORT", "9000")
        run("serve", "--insecure")
        [(settings, _, exposable)] = served
        assert settings.http.port == 9000
        assert exposable is True

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.1", "example.org"])  # noqa: S104
    def test_an_address_that_others_reach_is_refused_without_insecure(self, run, host, tmp_path):
        status, out, err = run("serve", "--host", host, "--port", "0")
        assert (status, out) == (2, "")
        assert host in err
        assert "--insecure" in err
        assert list(tmp_path.iterdir()) == []

    def test_a_port_in_use_is_named(self, run, used_port, tmp_path):
        status, out, err = run("serve", "--port", str(used_port))
        assert (status, out) == (2, "")
        assert f"imagegate: cannot listen on 127.0.0.1:{used_port}: Address already in use" in err
        assert "make run PORT=" in err
        assert list(tmp_path.iterdir()) == []

    def test_a_host_that_is_unknown_is_named(self, run):
        status, _, err = run("serve", "--insecure", "--host", "nowhere.invalid", "--port", "0")
        assert status == 2
        assert "cannot listen on nowhere.invalid:0" in err

    @pytest.mark.parametrize(
        ("variable", "value"), [("IMAGEGATE_HTTP__PORTS", "1"), ("IMAGEGATE_HTTP__PORT", "x")]
    )
    def test_a_wrong_setting_is_one_line_with_status_2(self, run, monkeypatch, variable, value):
        monkeypatch.setenv(variable, value)
        status, _, err = run("serve")
        assert status == 2
        assert err.startswith("imagegate: ")
        assert variable in err
        assert err.count("\n") == 1

    def test_a_port_out_of_range_is_refused(self, run):
        status, _, err = run("serve", "--port", "65536")
        assert status == 2
        assert "IMAGEGATE_HTTP__PORT" in err


class TestFeedSkip:
    def test_any_record_is_passed_over_and_one_that_is_not_there_is_named(self, run, tmp_path):
        log = SqliteLog(tmp_path / "data")

        async def append():
            await log.start()
            await log.append(EVENTS, [NEWER])
            await log.stop()

        asyncio.run(append())
        status, out, err = run("feed", "skip", "--offset", "0")
        assert (status, err) == (0, "")
        assert "cannot get past offset 0 continues at 1" in out
        status, out, err = run("feed", "skip", "--offset", "1")
        assert (status, out) == (2, "")
        assert "no record at offset 1 of image-events" in err


class TestBanner:
    @pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
    def test_it_says_the_real_port_the_folder_and_a_command_to_try(self, host, shown):
        settings = load(http={"host": host, "port": 0})
        with server.bind(settings.http) as listener:
            port = listener.getsockname()[1]
        banner = server.banner(settings.http, port, "the embedded log in /srv/images")
        assert port > 0
        assert f"http://{shown}:{port}\n" in banner
        assert f"curl -F file=@img.jpg http://{shown}:{port}/images" in banner
        assert "the embedded log in /srv/images\n" in banner

    def test_it_names_the_folder_of_the_embedded_log(self, run, served, tmp_path):
        run("serve")
        assert served[-1].destination == f"the embedded log in {tmp_path / 'data'}"

    def test_on_kafka_it_names_the_topics_and_the_brokers(self, run, served, monkeypatch):
        monkeypatch.setenv("IMAGEGATE_KAFKA__TOPIC_PREFIX", "test-")
        run("serve", "--kafka", "one:9092")
        destination = served[-1].destination
        assert "test-images" in destination
        assert "test-image-events" in destination
        assert "one:9092" in destination


def test_watching_the_embedded_log_is_refused_and_says_where_its_events_are(run):
    status, output, errors = run("watch")
    assert (status, output) == (2, "")
    assert "/streams/images" in errors


@pytest.mark.parametrize("wrong", ["yesterday", "2026-13-01", "5y", "99999999w", ""])
def test_a_time_that_is_none_is_refused_with_the_forms_of_one(run, wrong):
    status, _, errors = run("watch", "--since", wrong)
    assert status == 2
    assert "2h, 7d, 4w ago" in errors
    assert repr(wrong) in errors


@pytest.mark.parametrize(("option", "wrong"), [("--type", "stored"), ("--content-type", "jpeg")])
def test_a_type_that_no_event_can_have_is_refused(run, option, wrong):
    status, _, errors = run("watch", option, wrong)
    assert status == 2
    assert f"{option}: {wrong!r} is no type such as image" in errors


def test_another_layout_is_refused_with_those_that_there_are(run):
    status, _, errors = run("export", "--out", "pictures", "--layout", "day")
    assert status == 2
    assert "'flat', 'date', 'owner'" in errors
