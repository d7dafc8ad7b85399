"""The gateway's certificate: what is read, and what is refused."""

import os
import ssl

import pytest

from app.errors import ConfigurationError
from app.server.certificate import read_certificate
from tests.support.authority import DAY, NOW, Authority


def test_it_knows_when_it_expires_and_allows_no_old_tls(tmp_path):
    authority = Authority(tmp_path / "ca.pem")
    file = authority.issue(tmp_path / "cert.pem", "one", until=NOW + 3 * DAY)
    certificate = read_certificate(file, file)
    assert certificate.expires == (NOW + 3 * DAY).replace(microsecond=0)
    assert certificate.context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert certificate.context.options & ssl.OP_NO_RENEGOTIATION


def test_what_is_no_certificate_is_refused(tmp_path):
    authority = Authority(tmp_path / "ca.pem")
    file = authority.issue(tmp_path / "cert.pem", "one")
    empty, pipe = tmp_path / "empty", tmp_path / "pipe"
    empty.touch()
    # To open it would take until somebody writes to it.
    os.mkfifo(pipe)
    for cert, key in ((empty, file), (file, empty), (tmp_path, file), (pipe, file), (file, pipe)):
        with pytest.raises(ConfigurationError):
            read_certificate(cert, key)
