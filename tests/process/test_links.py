"""Signed links at a real server: with curl alone, and in no line of the log."""

import shutil
import subprocess

import pytest

from tests.support import images
from tests.support.credentials import make_key
from tests.support.links import link
from tests.support.raw_http import RawClient


@pytest.fixture
def gateway(new_gateway, log_settings, tmp_path):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    key = make_key(data_dir, "admin")
    gateway = new_gateway(data_dir=data_dir, IMAGEGATE_LOG_LEVEL="debug", **log_settings)
    gateway.key = key
    return gateway


def curl(folder, *arguments):
    """The status that curl gets."""
    asked = ["curl", "--silent", "--output", "out", "--write-out", "%{http_code}", *arguments]
    return int(subprocess.run(asked, cwd=folder, check=True, capture_output=True).stdout)


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_one_line_of_curl_uploads_once_and_no_line_of_the_log_has_a_signature(gateway, tmp_path):
    (tmp_path / "x.jpg").write_bytes(images.jpeg(images.photo((80, 60))))
    url = link(gateway, kind="upload")
    upload = ("-F", "file=@x.jpg", gateway.url + url)
    assert [curl(tmp_path, *upload) for _ in range(2)] == [201, 409]
    assert curl(tmp_path, gateway.url + url) == 403
    assert curl(tmp_path, gateway.url + url.replace("signature=", "signature=A")) == 403
    assert curl(tmp_path, f"{gateway.url}/nothing?{url.partition('?')[2]}") == 403
    assert curl(tmp_path, "-X", "POST", "-H", "Host: a b", gateway.url + url) == 421
    assert (
        curl(tmp_path, "-X", "POST", "-H", "Origin: http://evil.example", gateway.url + url) == 403
    )
    with RawClient(gateway) as client:
        client.send(
            f"POST {url} HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n".encode()
        )
        assert client.read_head()[0] == 400
    for target, status in ((url, 409), (url.replace("uses=1", "uses=2"), 403)):
        with RawClient(gateway) as client:
            # Refused before `100 Continue`.
            client.send_head("POST", target, Content_Length=9_999, Expect="100-continue")
            assert client.read_head()[0] == status
    stream = link(gateway, kind="stream", stream="images")
    with RawClient(gateway) as client:
        client.send_head("GET", stream)
        assert client.read_head()[0] == 200
    assert gateway.terminate() == 0
    output = "".join(gateway.output)
    assert "link_made" in output
    for each in (url, stream):
        assert each.partition("signature=")[2] not in output
    assert "signature=" not in output
    assert gateway.key not in output
