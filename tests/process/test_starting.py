"""The start of a gateway, and how it fails: one line, status 2."""

import socket
import sys
from pathlib import Path

import pytest

from tests.support import images
from tests.support.gateway_process import GatewayProcess

JPEG = images.jpeg(images.photo((64, 48)))


@pytest.fixture
def refused(tmp_path):
    """Start a gateway that fails to; return its one line."""

    def start(*arguments, data_dir=tmp_path / "data", **environment):
        with GatewayProcess(data_dir, **environment) as gateway:
            status, output = gateway.refuses(*arguments)
        assert status == 2, output
        lines = [line for line in output.splitlines() if line.startswith("imagegate: ")]
        assert len(lines) == 1, output
        assert "Traceback" not in output
        return lines[0]

    return start


@pytest.mark.parametrize(
    "program", [[sys.executable, "-m", "app"], [str(Path(sys.executable).with_name("imagegate"))]]
)
def test_the_command_and_the_module_run_and_stop(new_gateway, program, tmp_path):
    (tmp_path / "data").mkdir(mode=0o755)
    gateway = new_gateway(program=program)
    with gateway.client() as client:
        url = client.post("/images", content=JPEG).json()["url"]
        assert client.get(url).status_code == 200
    others = [file for file in gateway.data_dir.iterdir() if file.stat().st_mode & 0o077]
    assert others == []
    assert gateway.terminate() == 0
    assert gateway.mistakes() == []


def test_a_restart_right_after_kill_9_works_on_the_same_folder(new_gateway):
    gateway = new_gateway()
    with gateway.client() as client:
        url = client.post("/images", content=JPEG).json()["url"]
    for _ in range(2):
        gateway.kill()
        gateway.start()
        with gateway.client() as client:
            assert client.get(url).status_code == 200


def test_a_second_process_on_the_same_folder_is_refused(new_gateway, refused):
    gateway = new_gateway()
    message = refused("--port", "0")
    assert str(gateway.data_dir) in message
    with gateway.client() as client:
        assert client.post("/images", content=JPEG).status_code == 201


def test_a_second_process_with_a_kafka_is_refused_the_same_catalog(
    new_gateway, refused, log_settings
):
    gateway = new_gateway(**log_settings)
    assert str(gateway.data_dir) in refused("--port", "0", **log_settings)


def test_a_taken_port_is_named(refused):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused("--port", str(port))


def test_an_unknown_setting_is_named_with_the_nearest_one(refused):
    message = refused(IMAGEGATE_HTTP__PROT="1234")
    assert "IMAGEGATE_HTTP__PROT" in message
    assert "IMAGEGATE_HTTP__PORT" in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IMAGEGATE_HTTP__PORT", "http"),
        ("IMAGEGATE_UPLOAD__MAX_BYTES", "-1"),
        ("IMAGEGATE_LOG_LEVEL", "loud"),
    ],
)
def test_a_value_that_does_not_fit_is_named(refused, name, value):
    assert name in refused(**{name: value})


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])  # noqa: S104 - it is refused
def test_listening_beyond_this_machine_needs_insecure(refused, host):
    message = refused("--port", "0", "--host", host)
    assert host in message
    assert "--insecure" in message


def test_a_folder_that_cannot_be_made_is_named(refused, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert str(tmp_path / "file") in refused("--port", "0", data_dir=tmp_path / "file" / "data")


def test_a_host_of_no_interface_is_named(refused):
    # 192.0.2.0/24 is reserved for documentation (RFC 5737).
    assert "192.0.2.1" in refused("--port", "0", "--host", "192.0.2.1", "--insecure")


_COUNTING = """
import atexit, gc, sys
from app.cli.main import main
atexit.register(lambda: print("kept out of collections:", gc.get_freeze_count(), file=sys.stderr))
sys.argv[0] = "imagegate"
sys.exit(main())
"""


def test_garbage_is_not_looked_for_in_what_was_loaded_at_the_start(tmp_path):
    """A collection that goes through all of it holds up every request for 80 ms."""
    program = [sys.executable, "-c", _COUNTING]
    with GatewayProcess(tmp_path / "data", program=program) as gateway:
        gateway.start()
        assert gateway.terminate() == 0
        [line] = [line for line in gateway.output if line.startswith("kept out")]
    assert int(line.rpartition(" ")[2]) > 50_000
