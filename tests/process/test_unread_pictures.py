"""Watchers of live pictures that do not read hold a bounded memory; one that reads goes on."""

import re
from contextlib import ExitStack

from tests.support import images
from tests.support.gateway_process import until
from tests.support.raw_http import RawClient

PATH = "/streams/images.mjpeg"
BUDGET = 12_000_000
PICTURES = 4
DROPPED = "imagegate_live_pictures_dropped_total"


def dropped(client):
    return float(re.search(rf"^{DROPPED} (\S+)$", client.get("/metrics").text, re.MULTILINE)[1])


def read_picture(watcher, path):
    """Read on until a whole picture of this path has come."""
    received = b""
    while (at := received.find(f"Content-Location: {path}\r\n".encode())) < 0 or (
        b"--imagegate-picture" not in received[at:]
    ):
        piece = watcher.read_some()
        assert piece, "the stream broke"
        received += piece


def test_old_pictures_are_taken_from_watchers_that_do_not_read_and_one_that_reads_goes_on(
    new_gateway,
):
    gateway = new_gateway(IMAGEGATE_DELIVERY__PICTURES_BYTES=BUDGET)
    large = images.photo((1900, 1900), noise=255)
    with ExitStack() as stack, gateway.client() as client:

        def upload(number):
            data = images.jpeg(large, quality=95, private=False) + bytes(number)
            answer = client.post("/images?profile=original", content=data)
            assert answer.status_code == 201
            assert BUDGET / 4 < answer.json()["content_length"] < BUDGET
            return answer.json()["url"]

        def watch(source, receive_buffer=None):
            watcher = stack.enter_context(RawClient(gateway, receive_buffer, source))
            watcher.send_head("GET", PATH)
            return watcher

        good = watch("127.0.0.1")
        assert good.read_head()[0] == 200
        unread = []
        for number in range(PICTURES):
            path = upload(number)
            # Each holds another picture, as it comes after the next one was stored.
            unread.append(watch(f"127.0.0.{2 + number}", receive_buffer=4096))
            assert unread[-1].read_head()[0] == 200
            read_picture(good, path)
        assert until(lambda: dropped(client)) >= 1
        gateway.await_output("live_picture_dropped")
        # The oldest: its stream breaks off within the picture.
        received = b""
        while piece := unread[0].read_some():
            received += piece
            assert len(received) < BUDGET
        assert b"0\r\n\r\n" not in received[-5:]
        assert client.get("/health/live").status_code == 200
