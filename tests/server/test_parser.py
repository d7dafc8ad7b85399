"""The parser's bounds: what is parsed in one go, and which bodies are mostly framing."""

import h11
import pytest

from app.server import parser
from app.server.parser import EVENTS, MAX_HEADERS, Parser

CHUNKED = b"POST /images HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunks(size, count, extension=b""):
    return b"%x%s\r\n%s\r\n" % (size, extension, b"a" * size) * count


def one_go(connection):
    """Return the events until the parser says that it needs data."""
    events = []
    while (event := connection.next_event()) is not h11.NEED_DATA:
        events.append(event)
    return events


def parsed(connection, *received):
    """Return all events of what is received, in as many goes as they take."""
    events = []
    for data in received:
        connection.receive_data(data)
        events += one_go(connection)
        while connection.has_more:
            connection.go_on()
            events += one_go(connection)
    return events


def body(events):
    return b"".join(bytes(event.data) for event in events if isinstance(event, h11.Data))


@pytest.mark.parametrize("received", [(CHUNKED, chunks(1, 900)), (CHUNKED + chunks(1, 900),)])
def test_many_chunks_are_not_parsed_in_one_go(received):
    connection = Parser()
    for data in received:
        connection.receive_data(data)
    assert len(one_go(connection)) == EVENTS
    assert connection.has_more
    connection.go_on()
    assert len(one_go(connection)) == EVENTS


def test_what_is_parsed_in_slices_is_whole():
    events = parsed(Parser(), CHUNKED, chunks(300, 5_000), END)
    assert body(events) == b"a" * 300 * 5_000
    assert isinstance(events[-1], h11.EndOfMessage)


@pytest.mark.parametrize("size", [512, 4_096, 16_384])
@pytest.mark.parametrize("with_head", [True, False])
def test_chunks_as_clients_send_them_may_come_all_at_once(size, with_head):
    sent = chunks(size, 262_144 // size)
    received = (CHUNKED + sent, END) if with_head else (CHUNKED, sent, END)
    assert len(body(parsed(Parser(), *received))) == 262_144


@pytest.mark.parametrize("size", [1, 6, 60])
@pytest.mark.parametrize("with_head", [True, False])
def test_a_body_of_small_chunks_is_refused(size, with_head):
    sent = chunks(size, 100_000 // size)
    with pytest.raises(h11.RemoteProtocolError, match=r"too small|mostly framing"):
        parsed(Parser(), *((CHUNKED + sent,) if with_head else (CHUNKED, sent)))


def test_a_body_of_long_extensions_is_refused():
    sent = chunks(1_000, 100, extension=b";" + b"x" * 3_000)
    with pytest.raises(h11.RemoteProtocolError, match="mostly framing"):
        parsed(Parser(), CHUNKED + sent)


def test_a_short_trailer_is_read():
    events = parsed(Parser(), CHUNKED + chunks(10, 1) + b"0\r\na: b\r\n\r\n")
    assert events[-1].headers == [(b"a", b"b")]


def test_a_trailer_of_many_lines_is_refused_before_it_is_parsed(monkeypatch):
    monkeypatch.setattr(parser, "_PIECE_BYTES", 64)
    trailer = b"0\r\n" + b"a:\r\n" * (MAX_HEADERS + 30) + b"\r\n"
    with pytest.raises(h11.RemoteProtocolError, match="headers are too large, or too many"):
        parsed(Parser(), CHUNKED + chunks(10, 1) + trailer)


def test_a_body_with_a_length_comes_in_large_pieces():
    head = b"POST /images HTTP/1.1\r\nHost: a\r\nContent-Length: 262144\r\n\r\n"
    events = parsed(Parser(), head, b"a" * 262_144)
    assert len(body(events)) == 262_144
    assert len(events) < 10


def test_pipelined_requests_wait_for_their_turn():
    connection = Parser()
    get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    connection.receive_data(get * 1_000)
    assert isinstance(connection.next_event(), h11.Request)
    assert isinstance(connection.next_event(), h11.EndOfMessage)
    assert connection.next_event() is h11.PAUSED
    # h11 copies all that it was given for each request.
    assert len(connection.trailing_data[0]) < 4_096
