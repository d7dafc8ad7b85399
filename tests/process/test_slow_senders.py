"""Clients that send slowly or too much at once: whom the gateway serves meanwhile."""

import contextlib
import itertools
import select
import threading

from tests.support import images
from tests.support.credentials import bearer, make_key
from tests.support.gateway_process import until
from tests.support.raw_http import RawClient

LIMIT = 400_000
# For one of the largest, the room that is kept for it, and half of that.
SMALL = {
    "IMAGEGATE_UPLOAD__MAX_BYTES": LIMIT,
    "IMAGEGATE_UPLOAD__BUDGET_BYTES": 10 * LIMIT,
    "IMAGEGATE_UPLOAD__PATIENCE_SECONDS": 20,
    "IMAGEGATE_HTTP__LINGER_SECONDS": 0.2,
}
GRACE_SECONDS = 0.5
ATTACKER = "127.0.0.2"
# So large that it does not fit beside those who fill the budget.
PHOTO = images.png(images.photo((240, 240), noise=255), compress_level=1, private=False)


@contextlib.contextmanager
def senders(gateway, lengths, sent_bytes, sources=(ATTACKER,), **headers):
    """Clients that announce these lengths, and send so much of each or what is taken of it."""
    with contextlib.ExitStack() as stack:
        clients = []
        for length, source in zip(lengths, itertools.cycle(sources), strict=False):
            client = stack.enter_context(RawClient(gateway, source=source))
            headers |= {"Content_Type": "image/jpeg", "Content_Length": length}
            client.send_head("POST", "/images", **headers)
            client.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                sent = 0
                while sent < sent_bytes:
                    sent += client.socket.send(bytes(sent_bytes - sent))
            client.socket.settimeout(20)
            clients.append(client)
        yield clients


def answered(clients):
    """Return those to whom the gateway has said something."""
    readable, _, _ = select.select([client.socket for client in clients], [], [], 0)
    return [client for client in clients if client.socket in readable]


def upload_until_answered(gateway, clients):
    """Store images until one of these clients is answered; each has to be stored."""
    with gateway.client() as normal:

        def stored_and_answered():
            assert normal.post("/images", content=PHOTO).status_code == 201
            return answered(clients)

        return until(stored_and_answered)


def test_seven_silent_connections_that_announce_much_keep_nobody_waiting(new_gateway):
    gateway = new_gateway(IMAGEGATE_UPLOAD__PATIENCE_SECONDS=0)
    with (
        senders(gateway, [20_000_000] * 6 + [8_000_000], 130) as silent,
        gateway.client() as client,
    ):
        for _ in range(5):
            assert client.post("/images", content=PHOTO).status_code == 201
        assert answered(silent) == []


def test_hundreds_of_silent_connections_keep_nobody_waiting_either(new_gateway):
    gateway = new_gateway(IMAGEGATE_UPLOAD__PATIENCE_SECONDS=0)
    with senders(gateway, [20_000_000] * 300, 0) as silent, gateway.client() as client:
        assert client.post("/images", content=PHOTO).status_code == 201
        assert answered(silent) == []


def test_slow_senders_that_fill_the_budget_are_cut_off_and_others_are_stored(new_gateway):
    gateway = new_gateway(**SMALL, IMAGEGATE_HTTP__SLOW_BODY_SECONDS=GRACE_SECONDS)
    with senders(gateway, [LIMIT] * 4, 150_000) as slow:
        cut_off = upload_until_answered(gateway, slow)
        # No more than were in the way.
        assert len(cut_off) == 1
        status, headers, problem = cut_off[0].read_problem()
        assert (status, problem["code"]) == (408, "request-timeout")
        assert headers["connection"] == "close"
        assert cut_off[0].ended()
    assert gateway.mistakes() == []


def test_who_fills_more_than_its_share_gets_429_and_others_are_stored(new_gateway):
    gateway = new_gateway(**SMALL, IMAGEGATE_HTTP__SLOW_BODY_SECONDS=60)
    with senders(gateway, [LIMIT] * 5, LIMIT - 1000) as greedy:
        refused = upload_until_answered(gateway, greedy)
        assert len(refused) < len(greedy)
        for client in refused:
            status, headers, problem = client.read_problem()
            assert (status, problem["code"]) == (429, "share-exceeded")
            assert int(headers["retry-after"]) > 0
    assert any('"reason": "share"' in line for line in gateway.output)
    assert gateway.mistakes() == []


class TestSeven:
    """Seven that fill the budget, and send on at a rate that is allowed, do not keep others out."""

    SOURCES = tuple(f"127.0.0.{number}" for number in range(2, 9))

    @staticmethod
    def until_stored(gateway, seven, **headers):
        """Upload until it is stored, at the first attempt, while the seven send on."""
        done = threading.Event()

        def send_on():
            while not done.wait(0.1):
                for client in seven:
                    # It may have been refused.
                    with contextlib.suppress(OSError):
                        client.socket.send(bytes(2_200))

        sending = threading.Thread(target=send_on)
        sending.start()
        try:
            with gateway.client() as normal:
                return normal.post("/images", content=PHOTO, headers=headers).status_code
        finally:
            done.set()
            sending.join()

    def test_seven_addresses(self, new_gateway):
        gateway = new_gateway(**SMALL)
        with senders(gateway, [LIMIT] * 7, LIMIT - 60_000, sources=self.SOURCES) as seven:
            assert self.until_stored(gateway, seven) == 201
            # Those that were in the way.
            assert answered(seven)
        assert gateway.mistakes() == []

    def test_one_principal_from_seven_addresses(self, new_gateway, tmp_path):
        key, other = (make_key(tmp_path / "keys", "images:write") for _ in range(2))
        settings = {"IMAGEGATE_ACCESS__KEYS_FILE": str(tmp_path / "keys" / "keys.json")}
        gateway = new_gateway(**SMALL, **settings)
        shown = {"Authorization": f"Bearer {key}"}
        most = LIMIT - 60_000
        with senders(gateway, [LIMIT] * 7, most, sources=self.SOURCES, **shown) as seven:
            assert self.until_stored(gateway, seven, **bearer(other)) == 201
            assert answered(seven)
        assert gateway.mistakes() == []


def test_a_client_alone_may_be_as_slow_as_it_likes(new_gateway):
    gateway = new_gateway(**SMALL, IMAGEGATE_HTTP__SLOW_BODY_SECONDS=0.1)
    step = len(PHOTO) // 6
    with RawClient(gateway) as client:
        client.send_head("POST", "/images", Content_Type="image/png", Content_Length=len(PHOTO))
        for start in range(0, len(PHOTO), step):
            # Behind its pace after the second piece.
            threading.Event().wait(0.1)
            client.send(PHOTO[start : start + step])
        assert client.read_head()[0] == 201


def test_the_slow_senders_of_a_client_do_not_keep_its_own_uploads_waiting(new_gateway):
    gateway = new_gateway(**SMALL, IMAGEGATE_HTTP__SLOW_BODY_SECONDS=GRACE_SECONDS)
    with senders(gateway, [LIMIT] * 4, 150_000, sources=["127.0.0.1"]) as slow:
        [cut_off] = upload_until_answered(gateway, slow)
        assert cut_off.read_problem()[0] == 408
