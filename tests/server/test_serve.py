"""The socket that the server listens on."""

import socket

from app.server.serve import bind
from app.settings import load


def test_connections_take_no_more_than_a_little_beyond_what_is_on_its_way():
    with bind(load(http={"port": 0}).http) as listener:
        listener.listen()
        with socket.create_connection(listener.getsockname()), listener.accept()[0] as accepted:
            unsent = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)
    assert unsent == 131_072
