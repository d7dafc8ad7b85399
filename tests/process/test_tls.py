"""HTTPS by the gateway itself: its certificate, and connections before and after the handshake."""

import json
import socket
import ssl
from contextlib import ExitStack, suppress

import pytest

from tests.support import images
from tests.support.authority import Authority
from tests.support.gateway_process import GatewayProcess, until
from tests.support.raw_http import RawClient

PNG = images.png(images.photo((16, 12)))
ATTACKER, USER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca.pem")


@pytest.fixture
def pair(authority, tmp_path):
    """The settings of a gateway with a certificate."""
    file = str(authority.issue(tmp_path / "cert.pem", "one"))
    return {"IMAGEGATE_HTTP__TLS_CERT_FILE": file, "IMAGEGATE_HTTP__TLS_KEY_FILE": file}


@pytest.fixture
def plain():
    """Open TCP connections that say nothing; all are closed at the end."""
    with ExitStack() as stack:

        def connect(gateway, source=ATTACKER):
            client = stack.enter_context(socket.socket())
            client.settimeout(20)
            client.bind((source, 0))
            client.connect(gateway.address)
            return client

        yield connect


def shown(gateway):
    """Return the certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(gateway.address) as raw, context.wrap_socket(raw) as client:
        return client.getpeercert(binary_form=True)


def test_images_go_in_and_out_over_https(new_gateway, pair):
    gateway = new_gateway(**pair)
    assert gateway.url.startswith("https://127.0.0.1:")
    with gateway.client() as client:
        image = client.post("/images", files={"file": ("a.png", PNG)}).json()
        assert client.get(image["url"]).status_code == 200
    with RawClient(gateway) as client:
        assert client.socket.version() == "TLSv1.3"
        # Refused before the body is read; the answer arrives, though the client goes on to send.
        client.send_head("POST", "/images", Content_Length=100_000_000)
        client.send(bytes(5_000_000))
        assert client.read_problem()[0] == 413
    with RawClient(gateway) as client:
        client.send(b"no HTTP\r\n\r\n" + bytes(300_000))
        assert client.read_problem()[0] == 400
    assert gateway.terminate() == 0
    assert gateway.mistakes() == []


def test_a_new_certificate_is_shown_without_a_cut_and_a_broken_one_never(
    new_gateway, pair, authority
):
    gateway = new_gateway(**pair)
    file = authority.file.parent / "cert.pem"
    first = shown(gateway)
    with RawClient(gateway) as client:
        file.write_text("half of")
        reason = json.loads(gateway.await_output("file_unusable"))["reason"]
        assert str(file) in reason
        assert shown(gateway) == first
        authority.issue(file, "two")
        gateway.await_output("file_changed")
        assert shown(gateway) != first
        client.send_head("GET", "/health/live")
        assert client.read_head()[0] == 200
    assert gateway.mistakes() == []


def test_connections_that_never_begin_a_handshake_give_way_to_others(new_gateway, pair, plain):
    gateway = new_gateway(**pair, IMAGEGATE_HTTP__MAX_CONNECTIONS=8)
    silent = [plain(gateway) for _ in range(12)]
    assert silent[0].recv(1) == b""
    with RawClient(gateway, source=USER) as client:
        client.send_head("GET", "/images")
        assert client.read_head()[0] == 200
    assert json.loads(gateway.await_output("connection_closed"))["reason"] == "quiet"


def test_plain_http_ends_at_once_and_is_no_error(new_gateway, pair, plain):
    gateway = new_gateway(**pair)
    client = plain(gateway)
    client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with suppress(ConnectionResetError):
        # An alert, perhaps, and the end.
        while client.recv(1000):
            pass
    line = json.loads(gateway.await_output("tls_handshake_failed"))
    assert (line["reason"], line["level"]) == ("HTTP_REQUEST", "info")
    assert gateway.mistakes() == []


def test_a_client_that_keeps_its_connection_does_not_hold_up_the_stop(new_gateway, pair, plain):
    gateway = new_gateway(**pair)
    plain(gateway)
    with RawClient(gateway) as client:
        client.send_head("GET", "/health/live")
        assert client.read_head()[0] == 200
        assert gateway.terminate(seconds=10) == 0


def test_a_slow_client_gets_all_of_an_answer_after_which_the_connection_closes(new_gateway, pair):
    # Five pieces: two of them fit the kernel, and each of the two transports holds one or more.
    data = images.png(images.photo((360, 273), noise=255), compress_level=1)
    assert 4 * 65_536 < len(data) < 5 * 65_536
    gateway = new_gateway(**pair)
    with gateway.client() as client:
        image = client.post("/images", content=data, params={"profile": "original"}).json()
    with RawClient(gateway, receive_buffer=4_096) as client:
        client.send_head("GET", image["url"], Connection="close")
        _, headers = client.read_head()
        length = int(headers["content-length"])
        # The gateway has sent all that it can, and closes; the rest waits in it.
        until(lambda: f'"path": "{image["url"]}"' in "".join(gateway.output))
        assert len(client.read_body(headers)) == length
        assert client.ended()
    assert gateway.mistakes() == []


@pytest.mark.parametrize("case", ["no key", "no file", "another key"])
def test_a_pair_that_cannot_be_used_is_refused_at_start(authority, pair, tmp_path, case):
    if case == "no key":
        del pair["IMAGEGATE_HTTP__TLS_KEY_FILE"]
        said = "IMAGEGATE_HTTP__TLS_CERT_FILE and IMAGEGATE_HTTP__TLS_KEY_FILE go together"
    elif case == "no file":
        pair["IMAGEGATE_HTTP__TLS_CERT_FILE"] = str(tmp_path / "none.pem")
        said = f"{tmp_path / 'none.pem'} cannot be read: No such file or directory."
    else:
        other = authority.issue(tmp_path / "other.pem", "two")
        pair["IMAGEGATE_HTTP__TLS_KEY_FILE"] = str(other)
        said = f"{other} is not the key of the certificate in"
    gateway = GatewayProcess(tmp_path / "data", **pair)
    with gateway:
        status, output = gateway.refuses("--port", "0")
    assert status == 2
    assert said in output
    assert "Traceback" not in output
