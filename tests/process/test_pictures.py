"""`/streams/images.mjpeg`: the newest picture, for every watcher."""

import io
import re
import threading
from contextlib import ExitStack

import httpx
import pytest
from PIL import Image

from tests.support import images
from tests.support.gateway_process import until
from tests.support.raw_http import RawClient

PATH = "/streams/images.mjpeg"
PART = re.compile(
    rb"--imagegate-picture\r\nContent-Type: image/jpeg\r\nContent-Length: (\d+)\r\n"
    rb"Content-Location: (\S+)\r\n\r\n"
)


class Watcher:
    """Reads parts of the stream, one after the other."""

    def __init__(self, stack, gateway, **parameters):
        client = stack.enter_context(gateway.client())
        self.response = stack.enter_context(client.stream("GET", PATH, params=parameters))
        self.pieces = self.response.iter_raw()
        self.received = b""

    def next(self):
        """Return the path and the JPEG of the next picture."""
        while not (head := PART.search(self.received)):
            self.received += next(self.pieces)
        size = int(head[1])
        while len(self.received) < head.end() + size + len(b"\r\n--imagegate-picture"):
            self.received += next(self.pieces)
        jpeg = self.received[head.end() : head.end() + size]
        self.received = self.received[head.end() + size + 2 :]
        return head[2].decode(), jpeg


def upload(client, data):
    response = client.post("/images", content=data)
    assert response.status_code == 201, response.text
    return response.json()["url"]


@pytest.fixture
def gateway(new_gateway):
    return new_gateway()


def test_who_joins_sees_the_newest_picture_at_once_and_then_each_that_comes(
    new_gateway, log_settings
):
    gateway = new_gateway(**log_settings)
    with ExitStack() as stack, gateway.client() as client:
        upload(client, images.jpeg(images.photo(seed=1)))
        newest = upload(client, images.jpeg(images.photo(seed=2)))
        watcher = Watcher(stack, gateway)
        assert watcher.response.headers["content-type"] == (
            "multipart/x-mixed-replace; boundary=imagegate-picture"
        )
        assert watcher.response.headers["cache-control"] == "no-store"
        assert watcher.next() == (newest, client.get(newest).content)
        for seed in (3, 4):
            url = upload(client, images.jpeg(images.photo(seed=seed)))
            assert watcher.next() == (url, client.get(url).content)


@pytest.mark.parametrize("make", [images.png, images.webp, lambda _: images.animated("GIF")])
def test_what_is_not_a_jpeg_comes_as_a_small_one(gateway, make):
    with ExitStack() as stack, gateway.client() as client:
        url = upload(client, make(images.photo((2000, 100), noise=0)))
        path, jpeg = Watcher(stack, gateway).next()
        assert path == url
        picture = Image.open(io.BytesIO(jpeg))
        assert picture.format == "JPEG"
        assert max(picture.size) <= 1280


def test_width_bounds_the_picture_and_is_rounded_up(gateway):
    with ExitStack() as stack, gateway.client() as client:
        upload(client, images.jpeg(images.photo((1000, 500)), orientation=6))
        sizes = {
            width: Image.open(io.BytesIO(Watcher(stack, gateway, width=width).next()[1])).size
            for width in (100, 160, 200)
        }
    assert sizes == {100: (80, 160), 160: (80, 160), 200: (160, 320)}


def test_a_watcher_that_is_slow_gets_the_newest_and_holds_nobody_up(gateway):
    # More than the kernel buffers between the two (tcp_wmem: 4 MiB and less).
    large = images.jpeg(images.photo((3600, 3600), noise=255), quality=90)
    with ExitStack() as stack, gateway.client() as client:
        slow = stack.enter_context(RawClient(gateway, receive_buffer=4096))
        upload(client, large)
        slow.send_head("GET", PATH)
        assert slow.read_head()[0] == 200
        quick = Watcher(stack, gateway)
        before = quick.next()[0]
        for seed in range(5):
            url = upload(client, images.jpeg(images.photo(seed=seed)))
            # On a busy machine the one before was sent once more meanwhile.
            while (shown := quick.next()[0]) == before:
                pass
            assert shown == url
            before = url
        seen = unread = b""
        while url.encode() not in unread:
            piece = slow.read_some()
            # One read may hold the whole picture; its address may also begin in the read before.
            unread = seen[-len(url) :] + piece
            seen += piece
        assert len(re.findall(rb"Content-Location", seen)) == 2


def test_fps_bounds_how_often_a_picture_comes(gateway):
    with ExitStack() as stack, gateway.client() as client:
        upload(client, images.jpeg(images.photo(seed=0)))
        watcher = Watcher(stack, gateway, fps=0.5)
        first = watcher.next()
        last = [upload(client, images.jpeg(images.photo(seed=seed))) for seed in (1, 2, 3)][-1]
        assert watcher.next() == first, "browsers show a picture when the next one begins"
        assert watcher.next()[0] == last


def test_a_picture_that_none_follows_comes_once_more_and_not_again(gateway):
    with ExitStack() as stack, gateway.client() as client:
        first = upload(client, images.jpeg(images.photo(seed=1)))
        impatient, patient = Watcher(stack, gateway), Watcher(stack, gateway)
        assert [impatient.next()[0] for _ in range(2)] == [first, first]
        # The other watcher was sent the repetition as well, and no third copy for twice as long.
        threading.Event().wait(1.2)
        second = upload(client, images.jpeg(images.photo(seed=2)))
        assert [patient.next()[0] for _ in range(4)] == [first, first, second, second]


def test_fifty_watchers_and_streams_end_with_the_gateway(gateway):
    with ExitStack() as stack, gateway.client() as client:
        upload(client, images.jpeg())
        watchers = [Watcher(stack, gateway, fps=0.1) for _ in range(25)]
        for watcher in watchers:
            watcher.next()
        for _ in range(25):
            stream = stack.enter_context(RawClient(gateway))
            stream.send_head("GET", "/streams/images")
            assert stream.read_head()[0] == 200
        assert gateway.terminate(15) == 0


def test_a_picture_that_is_deleted_is_not_shown_to_who_joins(gateway):
    with ExitStack() as stack, gateway.client() as client:
        first = upload(client, images.jpeg(images.photo(seed=1)))
        second = upload(client, images.jpeg(images.photo(seed=2)))
        assert Watcher(stack, gateway).next()[0] == second
        assert client.delete(second).status_code == httpx.codes.NO_CONTENT
        assert Watcher(stack, gateway).next()[0] == first


@pytest.mark.parametrize("query", ["width=0", "width=5000", "width=x", "fps=0", "fps=1000"])
def test_a_parameter_out_of_range_is_a_problem(gateway, query):
    with gateway.client() as client:
        response = client.get(f"{PATH}?{query}")
        assert response.status_code == 422
        assert response.json()["code"] == "invalid-parameter"


def test_an_empty_gateway_waits_for_its_first_picture(gateway):
    with ExitStack() as stack, gateway.client() as client:
        watcher = Watcher(stack, gateway)
        url = upload(client, images.jpeg())
        assert watcher.next()[0] == url
        until(lambda: gateway.mistakes() == [], 1)
