"""The confinement of a whole gateway: its processes, its log, and how it starts."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import images
from tests.support.gateway_process import GatewayProcess, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux confines the workers")

JPEG = images.jpeg(images.photo((64, 48)))

# A shell leaves descriptors open. For root the files of a process that others may look into have
# the group of the process, and else its user; those of a hidden one are root's.
STARTED_BY_A_SHELL = [
    *("bash", "-c", 'exec 33</dev/null 251</dev/null; exec "$@"', "bash"),
    *(sys.executable, "-c"),
    """
import os, sys
os.getuid() or os.setgid(1)
os.execv(sys.executable, [sys.executable, "-m", "app", *sys.argv[1:]])
""",
]


def owner(pid):
    found = Path(f"/proc/{pid}/environ").stat()
    return found.st_uid, found.st_gid


def events(gateway):
    """Return the events of its log; its banner is no event."""
    lines = [
        line for line in gateway.output if not line.startswith(("imagegate ", "images ", "try"))
    ]
    return [json.loads(line) for line in lines]


def test_gateway_and_workers_are_closed_to_others_of_their_user(new_gateway):
    gateway = new_gateway(program=STARTED_BY_A_SHELL)
    [worker] = gateway.worker_pids()
    assert owner(gateway.process.pid) == (0, 0)
    assert owner(worker) == (0, 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees the descriptors of a hidden process")
def test_workers_inherit_nothing_that_the_starting_shell_left_open(new_gateway):
    gateway = new_gateway(program=STARTED_BY_A_SHELL)
    [worker] = gateway.worker_pids()
    open_in = {
        pid: {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
        for pid in (gateway.process.pid, worker)
    }
    assert {33, 251} <= open_in[gateway.process.pid]
    assert len(open_in[worker]) == 4
    assert not {33, 251} & open_in[worker]


def test_required_starts_here_and_says_once_what_is_in_force(new_gateway):
    gateway = new_gateway(IMAGEGATE_IMAGING__SANDBOX="required", IMAGEGATE_IMAGING__WORKERS=2)
    with gateway.client() as client:
        assert client.post("/images", content=JPEG).status_code == 201
    [said] = [each for each in events(gateway) if each["event"] == "codec_sandbox"]
    assert said["in_force"] == ["no-new-privileges", "not-dumpable", "landlock", "seccomp"]


# To the process the machine looks like one that has no filter of system calls here.
OTHER_MACHINE = ["setarch", "i686", sys.executable, "-m", "app"]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="setarch knows these machines")
class TestLacking:
    def test_required_refuses_to_start_and_names_the_part(self, tmp_path):
        settings = {"IMAGEGATE_IMAGING__SANDBOX": "required"}
        with GatewayProcess(tmp_path, program=OTHER_MACHINE, **settings) as gateway:
            status, output = gateway.refuses()
        assert status == 2
        [line] = [line for line in output.splitlines() if line.startswith("imagegate: ")]
        assert "IMAGEGATE_IMAGING__SANDBOX is required" in line
        assert line.endswith("seccomp.")

    def test_auto_starts_and_warns(self, new_gateway):
        gateway = new_gateway(program=OTHER_MACHINE)
        with gateway.client() as client:
            assert client.post("/images", content=JPEG).status_code == 201
        [said] = [each for each in events(gateway) if each["event"] == "codec_sandbox"]
        assert (said["level"], said["lacking"]) == ("warning", ["seccomp"])

    def test_doctor_warns_too(self, tmp_path):
        command = [*OTHER_MACHINE, "doctor", "--data-dir", str(tmp_path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert "warning  codec workers" in said
        assert "not by seccomp" in said


def test_off_starts_and_warns(new_gateway):
    gateway = new_gateway(IMAGEGATE_IMAGING__SANDBOX="off")
    [said] = [each for each in events(gateway) if each["event"] == "codec_sandbox"]
    assert (said["level"], said["in_force"]) == ("warning", [])


def test_text_of_a_library_is_an_event_with_the_id_of_its_request(new_gateway):
    gateway = new_gateway()
    tiff = bytearray(images.saved(images.photo(), "TIFF", compression="tiff_adobe_deflate"))
    tiff[2000:2100] = b"\xff" * 100
    with gateway.client() as client:
        answer = client.post(
            "/images", content=bytes(tiff), headers={"X-Request-ID": "of-the-tiff"}
        )
        assert answer.json()["code"] == "invalid-image"
    said = until(lambda: [each for each in events(gateway) if each["event"] == "codec_worker_said"])
    assert [each["request_id"] for each in said] == ["of-the-tiff"]
    assert "ZIPDecode" in said[0]["text"]
    assert gateway.terminate() == 0
    events(gateway)  # every line is one
