"""Forms as clients write them, and as attackers do: what is read, and how much work it is."""

import re
import sys
from email.message import Message
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.form import UploadForm
from app.api.multipart import MultipartBody, Part, PartEnd
from app.api.options import Options
from app.api.parameters import filename_of, parse_parameters
from app.errors import BadRequestError, GatewayError
from app.imaging.settings import ImagingSettings
from app.ingest.settings import UploadSettings
from tests.support.credentials import RULE

HEADERS = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
BROWSER = b"----WebKitFormBoundary7MA4YWxkTrZu0gW"


def parts_of(boundary, pieces):
    """Return the parts as tuples of name, file name and data."""
    body, parts = MultipartBody(boundary), []
    for piece in pieces:
        for event in body.parse(piece):
            match event:
                case Part(name, filename):
                    parts.append([name, filename, b""])
                case bytes():
                    parts[-1][2] += event
                case PartEnd():
                    parts[-1] = tuple(parts[-1])
    body.finish()
    return parts


def cut(body, places):
    """Cut a body at these places."""
    places = sorted({0, *(place % (len(body) + 1) for place in places), len(body)})
    return [body[start:end] for start, end in pairwise(places)]


def reference(boundary, body):
    """Split a body that is whole and well-formed: what RFC 2046 says, in four lines."""
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary)
    parts = parts[: [part[:2] for part in parts].index(b"--")]
    for part in parts:
        headers, _, data = re.sub(rb"\A[ \t]*", b"", part).partition(b"\r\n\r\n")
        yield re.search(rb'name="(.*?)"', headers)[1].decode(), data


class TestAnyForm:
    @settings(deadline=None, max_examples=300)
    @given(st.data())
    def test_it_has_the_parts_that_a_plain_splitter_finds_however_it_is_cut(self, data):
        boundary = data.draw(st.sampled_from([b"b", b"-", b"--", BROWSER, b"a" * 70]))
        delimiter = b"\r\n--" + boundary
        near = st.integers(1, len(delimiter) - 1).map(lambda length: delimiter[:length])
        noise = st.lists(near | st.sampled_from([b"\r", b"\n", b"-", b"x", b"\r\n"]) | st.binary())
        clean = noise.map(b"".join).filter(lambda text: delimiter not in b"\r\n" + text)
        padding = st.text(" \t", max_size=100).map(str.encode)
        body = data.draw(clean.map(lambda text: text + b"\r\n") | st.just(b""))
        for index in range(data.draw(st.integers(0, 5))):
            headers = f'Content-Disposition: form-data; name="{index}"'.encode()
            body += delimiter[2:] + data.draw(padding) + b"\r\n" + headers + b"\r\n\r\n"
            body += data.draw(clean) + b"\r\n"
        body += (
            delimiter[2:] + b"--" + data.draw(st.sampled_from([b"", b"\r\n", b" x" + delimiter]))
        )
        pieces = cut(body, data.draw(st.lists(st.integers(0, 10_000), max_size=40)))
        found = [(name, content) for name, _, content in parts_of(boundary, pieces)]
        assert found == list(reference(boundary, body))

    def test_it_is_read_byte_by_byte_as_in_one_piece(self):
        body = b"Hello.\r\n--b \t\r\n" + HEADERS + b"\r\n-\r\n--\r\n\r\r\n--b--\r\n"
        assert parts_of(b"b", [body]) == [("file", "a.jpg", b"\r\n-\r\n--\r\n\r")]
        assert parts_of(b"b", [bytes([byte]) for byte in body]) == parts_of(b"b", [body])

    def test_files_come_one_after_another_before_the_body_has_ended(self):
        body = MultipartBody(b"b")
        first = list(body.parse(b"--b\r\n" + HEADERS + b"one\r\n--b\r\n" + HEADERS + b"tw"))
        part = Part("file", "a.jpg")
        assert first == [part, b"one", PartEnd(), part, b"tw"]
        assert list(body.parse(b"o\r\n--b--")) == [b"o", PartEnd()]
        body.finish()


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b"", "does not have the boundary"),
            (b"--c\r\n" + HEADERS + b"x\r\n--c--", "does not have the boundary"),
            (b"x--b\r\n" + HEADERS + b"x\r\nx--b--", "does not have the boundary"),
            (b"--b\r\n" + HEADERS + b"x", "ends before its closing boundary"),
            (b"--b\r\n" + HEADERS + b"x\r\n--b-", "ends before its closing boundary"),
            (b"--b\r\n" + HEADERS + b"x\r\n--bc\r\n--b--", "boundary within a part"),
            (b"--b" + b" " * 200 + b"\r\n" + HEADERS + b"x\r\n--b--", "without an end"),
            (b"--b\r\na:" + b"x" * 5_000 + b"\r\n\r\nx\r\n--b--", "without an end"),
            (b"--b\r\nno colon\r\n\r\nx\r\n--b--", "malformed headers"),
            (b"--b\r\na: x\r\n folded\r\n\r\nx\r\n--b--", "malformed headers"),
            (b"--b\r\na: x\ny\r\n\r\nx\r\n--b--", "malformed headers"),
            (b"--b\r\n" + HEADERS + (b"\r\n--b\r\n" + HEADERS) * 32, "more than 32 parts"),
        ],
    )
    @pytest.mark.parametrize("piece_bytes", [1, 7, 100_000])
    def test_a_malformed_body_is_refused_with_the_reason(self, body, reason, piece_bytes):
        pieces = [body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes)]
        with pytest.raises(BadRequestError, match=reason):
            parts_of(b"b", pieces)

    @pytest.mark.parametrize("boundary", [b"", b"b" * 257])
    def test_a_boundary_is_neither_missing_nor_endless(self, boundary):
        with pytest.raises(BadRequestError):
            MultipartBody(boundary)


def lines_run(function):
    """Count the lines of Python that a call runs: its work, whatever the machine."""
    count, before = 0, sys.gettrace()

    def trace(*_):
        nonlocal count
        count += 1
        return trace

    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count


def attacks(boundary):
    """Yield bodies of a megabyte, or as long as a limit on parts or headers allows."""
    delimiter = b"\r\n--" + boundary
    line_end, named = b"\r\n", b"\r\nContent-Disposition: form-data; name=x"
    part = delimiter + named + line_end + line_end
    for length in sorted({1, 2, 3, 4, len(delimiter) // 2, len(delimiter) - 1}):
        for after in (b"", b"x"):
            yield part + _fill(delimiter[:length] + after)
    for after in (b"", b"x", b"-", b"-x", b"\r", b"\rx", b" ", b"\t x"):
        yield part + _fill(delimiter + after)
    yield _fill(part)
    yield _fill(delimiter + line_end + line_end)
    yield (delimiter + _fill(b" ", 100) + named + line_end + line_end) * 33
    yield part + delimiter + _fill(b" ")
    yield delimiter + _fill(b" ")
    for line in (b"a:" + b" " * 4_000, b"a:\r\n" * 1_000 + b"a:", (named[2:] + line_end) * 90):
        yield (delimiter + line_end + line + line_end + line_end) * 33
    for line in (
        b";" * 4_000,
        b";a=b" * 999,
        b';a="' + b'\\"' * 1_999,
        b";filename=" + b"=?" * 999,
    ):
        yield (delimiter + named + line + line_end + line_end) * 33
    yield _fill(b"x")
    yield line_end + _fill(delimiter[:-1])
    yield delimiter + b"--" + _fill(delimiter)


def _fill(unit, length=1_000_000):
    return (unit * (length // len(unit) + 1))[:length]


class TestWork:
    @pytest.mark.parametrize("boundary", [b"b", BROWSER, b"a" * 70])
    def test_no_body_takes_more_than_some_lines_of_python_a_piece_and_a_part(self, boundary):
        for body in attacks(boundary):
            form = UploadForm(
                boundary, 20_000_000, Options(ImagingSettings(), RULE, UploadSettings(), "")
            )
            pieces = cut(body, range(0, len(body), 65_536))

            def parse(form=form, pieces=pieces):
                try:
                    for piece in pieces:
                        form.write(piece)
                except GatewayError:
                    pass

            assert lines_run(parse) < 60 * len(pieces) + 300 * 33, body[:200]


DISPOSITION = b"form-data; name=file; "


class TestFileNames:
    @pytest.mark.parametrize(
        ("parameters", "name"),
        [
            (b'filename="a.jpg"', "a.jpg"),
            (b"FileName = a.jpg ", "a.jpg"),
            ('filename="Küste ☀.jpg"'.encode(), "Küste ☀.jpg"),
            ('filename="Küste.jpg"'.encode("latin-1"), "Küste.jpg"),
            (b'filename="a%22b.jpg"', 'a"b.jpg'),
            (rb'filename="a\"b;c.jpg"', 'a"b;c.jpg'),
            (rb'filename="C:\photos\a.jpg"', r"C:\photos\a.jpg"),
            (b'filename="a.jpg', "a.jpg"),
            (b"filename*=UTF-8''caf%C3%A9%22.jpg", 'café".jpg'),
            (b"filename*=iso-8859-1'de'caf%E9.jpg", "café.jpg"),
            (
                b"filename=\"=?utf-8?B?eA==?=\"; filename*=utf-8''special%E2%82%AC.jpg",
                "special€.jpg",
            ),
            (b"filename*=utf-8''a%2522; filename=b", "a%22"),
            (b"filename=a; filename*=utf-7''b", "a"),
            (b"filename=a; filename*=b", "a"),
            (b'filename="=?utf-8?B?Y2Fmw6k=?= =?UTF-8?q?_=E2=98=80?="', "café ☀"),
            (b'filename="=?iso-8859-1?Q?caf=E9?="', "café"),
            (b'filename="=?utf-8?B?a?="', "=?utf-8?B?a?="),
            (b'filename="=?idna?Q?x?="', "=?idna?Q?x?="),
            (b"filename*=utf-8''%FF", "\ufffd"),
            (b'x="; filename=a"', None),
            (b"filename=", ""),
        ],
    )
    def test_it_is_read_as_the_client_meant_it(self, parameters, name):
        found = parse_parameters(DISPOSITION + parameters)[1]
        assert filename_of(found) == name
        assert found[b"name"] == b"file"

    @settings(deadline=None)
    @given(st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='\\"%=')))
    def test_it_is_what_the_standard_library_reads(self, name):
        message = Message()
        message["Content-Disposition"] = f'form-data; name="file"; filename="{name}"'
        value = message["Content-Disposition"].encode()
        assert filename_of(parse_parameters(value)[1]).strip() == message.get_filename()
        assert parse_parameters(value)[0] == b"form-data"

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_any_bytes_are_read(self, value):
        filename_of(parse_parameters(DISPOSITION + b"filename=" + value)[1])
        filename_of(parse_parameters(DISPOSITION + b"filename*=utf-8''" + value)[1])
        parse_parameters(value)
