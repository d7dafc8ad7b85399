"""`KAFKA_SECURE=1 make kafka`: what it prints is all that a gateway needs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from dev.kafka.ports import free_port
from tests.support.checker import SMALL

pytestmark = pytest.mark.apache_kafka

ROOT = Path(__file__).parents[3]


@pytest.fixture
def make_kafka(tmp_path):
    """Run a command of `dev.kafka` on a data directory of the test's own; returns what it said."""
    environment = os.environ | {
        "KAFKA_SECURE": "1",
        "KAFKA_DATA": str(tmp_path / "kafka data"),
        "KAFKA_PORT": str(free_port()),
    }

    def run(command):
        arguments = [sys.executable, "-m", "dev.kafka", command]
        return subprocess.check_output(arguments, env=environment, cwd=ROOT, text=True)

    yield run
    run("stop")


def test_a_secured_kafka_starts_with_the_lines_that_use_it(make_kafka, new_gateway):
    said = make_kafka("start")
    command = re.search(r"use it(.*?) make run", said, re.DOTALL)[1].replace("\\\n", " ")
    settings = dict(each.split("=", 1) for each in shlex.split(command))
    file = Path(settings["IMAGEGATE_KAFKA__SASL_PASSWORD_FILE"])
    assert file.stat().st_mode & 0o077 == 0
    assert file.read_text() not in said
    gateway = new_gateway(**settings)
    with gateway.client() as client:
        assert client.post("/images", content=SMALL[0]).status_code == httpx.codes.CREATED
    assert gateway.terminate() == 0
