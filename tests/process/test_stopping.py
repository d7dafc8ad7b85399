"""SIGTERM and SIGINT: no new requests, streams end at once, the rest is finished, status 0."""

import hashlib
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import images
from tests.support.gateway_process import GatewayProcess, until
from tests.support.raw_http import RawClient, refuses_connections

GRACE_SECONDS = 15
JPEG = images.jpeg(images.photo((64, 48)))


def open_stream(gateway):
    client = RawClient(gateway)
    client.send_head("GET", "/streams/images")
    assert client.read_head()[0] == 200
    assert b"connected" in client.read_some()
    return client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_streams_at_once_and_finishes_what_is_under_way(new_gateway, number):
    gateway = new_gateway(IMAGEGATE_HTTP__GRACE_SECONDS=GRACE_SECONDS)
    data = images.png(images.photo((1000, 1000), noise=255), compress_level=1, private=False)
    with gateway.client() as client:
        image = client.post("/images", content=data).json()
    with (
        ExitStack() as stack,
        RawClient(gateway) as upload,
        RawClient(gateway, receive_buffer=4096) as download,
    ):
        streams = [stack.enter_context(open_stream(gateway)) for _ in range(5)]
        upload.send_head("POST", "/images", Content_Length=len(JPEG), Expect="100-continue")
        assert upload.read_head()[0] == 100
        upload.send(JPEG[:500])
        download.send_head("GET", image["url"])
        assert download.read_head()[0] == 200

        started = time.monotonic()
        gateway.process.send_signal(number)
        for stream in streams:
            # The end of a chunked body: the stream was closed in good order.
            until(lambda s=stream: s.read_some().endswith(b"0\r\n\r\n"), 3)
        until(lambda: refuses_connections(gateway), 3)
        assert gateway.process.poll() is None
        # A second signal of the same kind changes nothing but for SIGINT, which is impatience.
        gateway.process.send_signal(signal.SIGTERM)

        upload.send(JPEG[500:])
        status, headers = upload.read_head()
        assert status == 201
        digest = hashlib.sha256()
        received = 0
        while received < image["content_length"]:
            piece = download.read_some()
            assert piece, "the download was cut off"
            digest.update(piece)
            received += len(piece)
        assert f"sha256:{digest.hexdigest()}" == image["digest"]
    assert gateway.wait(GRACE_SECONDS) == 0
    assert time.monotonic() - started < GRACE_SECONDS
    assert gateway.mistakes() == []

    gateway.start()
    with gateway.client() as client:
        assert client.get(headers["location"]).status_code == 200


def test_readiness_goes_off_when_stopping_begins(new_gateway):
    """An answer on a connection from before says why; a new one is refused."""
    gateway = new_gateway()
    with RawClient(gateway) as upload, RawClient(gateway) as probe:
        upload.send_head("POST", "/images", Content_Length=len(JPEG), Expect="100-continue")
        assert upload.read_head()[0] == 100
        gateway.process.send_signal(signal.SIGTERM)
        gateway.await_output("draining")
        # uvicorn closes idle connections, which is as good an answer.
        try:
            probe.send_head("GET", "/health/ready")
            answer = probe.read_some()
        except ConnectionError:
            answer = b""
        assert answer == b"" or b" 503 " in answer
        upload.send(JPEG)
        assert upload.read_head()[0] == 201
    assert gateway.wait(20) == 0


def test_what_outlives_the_grace_period_is_cut_off_and_the_status_is_still_0(new_gateway):
    gateway = new_gateway(IMAGEGATE_HTTP__GRACE_SECONDS=1)
    with RawClient(gateway) as upload:
        upload.send_head("POST", "/images", Content_Length=len(JPEG), Expect="100-continue")
        assert upload.read_head()[0] == 100
        started = time.monotonic()
        assert gateway.terminate(seconds=10) == 0
        assert time.monotonic() - started > 0.9
    gateway.start()
    with gateway.client() as client:
        assert client.get("/images").json()["images"] == []


def test_a_gateway_without_requests_stops_well_within_the_grace_period(new_gateway, log_settings):
    gateway = new_gateway(**log_settings)
    with gateway.client() as client:
        assert client.post("/images", content=JPEG).status_code == 201
    workers = gateway.worker_pids()
    assert all(map(_is_worker, workers))
    started = time.monotonic()
    assert gateway.terminate() == 0
    assert time.monotonic() - started < 5
    assert not [pid for pid in workers if _is_worker(pid)]
    assert gateway.mistakes() == []


def _is_worker(pid):
    """Tell whether a codec worker still has this process id."""
    try:
        return b"app.codec" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_search_for_a_broker(tmp_path, number):
    settings = {"IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with GatewayProcess(tmp_path, **settings) as gateway:
        gateway.spawn("--port", "0", wait=False)
        # The folder is locked just before the search begins.
        until((tmp_path / "imagegate.lock").exists, 30)
        started = time.monotonic()
        gateway.process.send_signal(number)
        assert gateway.wait(20) == 0
        assert time.monotonic() - started < 10
        assert "Traceback" not in "".join(gateway.output)
