"""Which addresses are one client."""

import pytest

from app.client import NOBODY, client_of


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("127.0.0.2", "127.0.0.2"),
        ("2001:db8:1:2::5", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::5", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
        ("x" * 1000, "x" * 64),
        ("", NOBODY),
    ],
)
def test_an_ipv6_network_of_64_bits_is_one_client(address, client):
    assert client_of(address) == client
