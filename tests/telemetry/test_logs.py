"""The log: what clients and brokers send cannot command the terminal that shows it."""

import json
import os
import pty
import re
import subprocess
import sys
import unicodedata

import pytest

from tests.support.gateway_process import until
from tests.support.raw_http import RawClient, refuses_connections

# Clear the screen, set the title, a C1 CSI, new lines that could be other events, marks that turn
# the direction of text, half of a surrogate pair.
HOSTILE = "a\x1b[2J\x1b]0;x\x07\x9b31m\x85\r\n\t\x00\x7f\u2028\u202eb\ud800"
SHOWN = r"a\x1b[2J\x1b]0;x\x07\x9b31m\x85\r\n\t\x00\x7f\u2028\u202eb\ud800"
# The colours of structlog's own.
COLOURS = re.compile(r"\x1b\[\d+(;\d+)*m")
PROGRAM = """
import logging
import structlog
from app.telemetry import logs
logs.configure("info")
logger = structlog.get_logger()
"""


@pytest.fixture(params=[True, False], ids=["terminal", "JSON"])
def logged(request):
    """Return the lines that a program logs, on a terminal or not, without structlog's colours."""

    def run(program):
        reading, writing = pty.openpty() if request.param else os.pipe()
        with subprocess.Popen([sys.executable, "-c", PROGRAM + program], stderr=writing) as process:
            os.close(writing)
            text = read_to_the_end(reading)
        assert process.returncode == 0, text
        return COLOURS.sub("", text).replace("\r\n", "\n").removesuffix("\n").split("\n")

    return run


def read_to_the_end(descriptor):
    text = b""
    try:
        while data := os.read(descriptor, 65_536):
            text += data
    except OSError:  # the end of a terminal
        pass
    finally:
        os.close(descriptor)
    return text.decode()


def has_controls(line):
    return any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl") for each in line)


def test_no_field_brings_a_control_character(logged):
    [line] = logged(
        f"hostile = {HOSTILE!r}\n"
        "logger.warning(hostile, path=hostile, request_id=hostile, filename=hostile,"
        " detail=hostile, cause=repr(ValueError(hostile)), letter={hostile: [hostile, (hostile,)]})"
    )
    assert not has_controls(line)
    if not line.startswith("{"):
        assert f"path={SHOWN}" in line
        return
    fields = json.loads(line)
    assert {fields[name] for name in ("event", "path", "filename", "detail")} == {SHOWN}
    assert fields["letter"] == {SHOWN: [SHOWN, [SHOWN]]}


def test_no_line_of_a_library_does(logged):
    [line] = logged(f"logging.getLogger('aiokafka.client').critical('%s', {HOSTILE!r})")
    assert not has_controls(line)
    assert "31m" in line


def test_an_exception_keeps_its_lines_and_no_other_control_character(logged):
    lines = logged(
        f"try:\n    raise ValueError({HOSTILE!r})\n"
        "except ValueError:\n    logger.exception('failed')"
    )
    assert not any(map(has_controls, lines))
    if lines[0].startswith("{"):
        lines = json.loads(lines[0])["exception"].split("\n")
    assert any(line.startswith("Traceback") for line in lines)
    assert any(r"\x9b31m" in line for line in lines)
    assert len(lines) > 3


def test_text_of_other_languages_stays(logged):
    [line] = logged("logger.warning('event', detail='Küste 日本 🏞')")
    assert "Küste 日本 🏞" in (json.loads(line)["detail"] if line.startswith("{") else line)


def test_a_path_that_a_client_chose_reaches_a_terminal_escaped(tmp_path):
    """The gateway's standard error is a terminal here."""
    reading, writing = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", "serve", "--port", "0"],
        env={"PATH": os.environ["PATH"], "IMAGEGATE_DATA_DIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writing,
    )
    os.close(writing)
    os.set_blocking(reading, False)
    shown = bytearray()

    def has_path():
        try:
            shown.extend(os.read(reading, 65_536))
        except BlockingIOError:
            return False
        return b"[2J" in shown

    try:
        found = re.search(rb"http://([\d.]+):(\d+)", process.stdout.readline())
        address = found[1].decode(), int(found[2])
        gateway = type("Gateway", (), {"address": address, "url": "http:"})
        # It says its address before it listens.
        until(lambda: not refuses_connections(gateway))
        with RawClient(gateway) as client:
            client.send_head("GET", "/%1b%5b2J%c2%9b31m%0a%e2%80%ae")
            client.read_head()
        until(has_path)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
    os.set_blocking(reading, True)
    text = COLOURS.sub("", shown.decode() + read_to_the_end(reading))
    assert r"path=/\x1b[2J\x9b31m\n\u202e" in text
    assert not any(map(has_controls, re.split("\r?\n", text)))
