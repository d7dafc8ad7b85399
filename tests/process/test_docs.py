"""The curl lines of the documents, as a reader would run them: in order, in one shell."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import images
from tests.support.gateway_process import GatewayProcess, on_kafka

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("quick-start", "http-api", "uploading")
# curl's own exit status (curl(1)) for an answer of 400 and above with -f, and for --max-time.
HTTP_ERROR, TIMED_OUT = 22, 28
# Streams never end: each is watched for this long.
STREAM_SECONDS = 1
CURLRC = 'silent\nshow-error\nfail\nwrite-out = "%{stderr}%{http_code}\\n"\nmax-time = '

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")


@dataclass(frozen=True)
class Line:
    command: str
    status: int

    @property
    def endless(self):
        return "/streams/" in self.command and self.status == 200


def lines_of(page):
    """Return the curl lines of a page's `sh` blocks; each ends with the status it gets.

    A variable that is set in a line of its own belongs to the line behind it.
    """
    text = (DOCS / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"(?ms)^```sh\n(.*?)^```", text)
    commands = "".join(blocks).replace("\\\n", " ").splitlines()
    found, before = [], ""
    for line in commands:
        command = f"{before}{line}"
        before = f"{command} && " if re.fullmatch(r"[A-Z]+=\$\((?!.*curl ).*\)", line) else ""
        if re.search(r"\bcurl ", command):
            status = re.search(r"  # (\d{3})$", command)
            assert status, f"which status does it get? {command}"
            found.append(Line(command, int(status.group(1))))
    return found


@dataclass(frozen=True)
class Outcome:
    exit_status: int
    statuses: list[int]
    output: str
    errors: str


def run(page, gateway, folder):
    """Run the lines of a page in one shell; return the outcome of each."""
    folder.mkdir()
    (folder / "img.jpg").write_bytes(images.jpeg(images.photo((320, 240))))
    for name, seconds in (("quick", 60), ("endless", STREAM_SECONDS)):
        (folder / name).mkdir()
        (folder / name / ".curlrc").write_text(f"{CURLRC}{seconds}\n")
    lines = lines_of(page)
    script = ["set -o pipefail"]
    for number, line in enumerate(lines):
        command = line.command.replace("localhost:8080", "{}:{}".format(*gateway.address))
        home = "endless" if line.endless else "quick"
        script.append(
            f"export CURL_HOME=$PWD/{home}\n"
            f"{{ {command}\n}} >{number}.out 2>{number}.err\n"
            f"echo $? >{number}.exit"
        )
    subprocess.run(["bash", "-c", "\n".join(script)], cwd=folder, check=True, timeout=300)
    return [outcome(folder / str(number)) for number in range(len(lines))]


def outcome(path):
    errors = path.with_suffix(".err").read_text()
    return Outcome(
        int(path.with_suffix(".exit").read_text()),
        [int(status) for status in re.findall(r"(?m)^(\d{3})$", errors)],
        path.with_suffix(".out").read_bytes().decode("utf-8", "replace"),
        errors,
    )


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def outcomes(request, tmp_path_factory):
    """The outcomes of a page's lines, against a gateway on each log: `outcomes(page)`."""
    folder = tmp_path_factory.mktemp("docs")
    pages = {}
    for page in PAGES:
        settings = {"IMAGEGATE_IMAGING__WORKERS": 1}
        if request.param == "kafka":
            settings |= on_kafka(request.getfixturevalue("kafka"))
        # A log for each: an id that never was an image's is 410 where another page deleted one.
        with GatewayProcess(folder / f"{page}-data", **settings) as gateway:
            gateway.start()
            pages[page] = run(page, gateway, folder / page)
            assert gateway.terminate() == 0
            assert gateway.mistakes() == []
    return pages.__getitem__


@pytest.mark.parametrize("page", PAGES)
def test_every_documented_line_does_what_the_document_says(outcomes, page):
    pairs = list(zip(lines_of(page), outcomes(page), strict=True))
    assert pairs
    assert [(line.command, seen) for line, seen in pairs if not is_as_documented(line, seen)] == []


def is_as_documented(line, seen):
    if seen.statuses != [line.status]:
        return False
    if line.endless:
        return seen.exit_status == TIMED_OUT and seen.output.startswith(": connected\n")
    return seen.exit_status == (HTTP_ERROR if line.status >= 400 else 0)


def test_the_whole_stream_shows_both_kinds_of_events(outcomes):
    [whole] = [n for n, line in enumerate(lines_of("http-api")) if "Event-ID: -1" in line.command]
    shown = outcomes("http-api")[whole].output
    assert "event: image.stored\ndata: {" in shown
    assert "event: image.deleted\ndata: {" in shown
