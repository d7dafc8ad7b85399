"""Attacks that upload: too slowly, too much, what is dear to decode, or without waiting.

Each is one client, 127.0.0.2, unless it says otherwise.
"""

import asyncio
import base64
import hashlib
from itertools import count

from tests.support.siege.attacker import request, upload

# The default limit of an upload.
_LIMIT_BYTES = 20_000_000
_ANY = "application/octet-stream"
# A picture's first bytes, all that a silent upload sends of it: 130 bytes with the head.
_JPEG_START = b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_FORM_TYPE = "multipart/form-data; boundary=b"
_PART = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


async def silent_uploads(attacker):
    """Announce six uploads of 20 MB and one of 8 MB, send 130 bytes of each, then nothing."""

    async def one(number):
        length = 8_000_000 if number == 6 else _LIMIT_BYTES
        opened = await attacker.connect()
        try:
            await attacker.send(opened, upload(b"", Content_Length=length) + _JPEG_START)
            await attacker.read(opened)
        finally:
            attacker.close(opened)

    await attacker.keep(7, one)


async def slow_uploads(attacker):
    """Seven uploads of 20 MB at 21,500 bytes a second, just above the allowed rate: 150 KB/s."""

    begun = upload(b"", Content_Length=_LIMIT_BYTES) + _JPEG_START

    async def one(_):
        await _drip(attacker, 0, begun, byte=bytes(10_750), seconds=0.5)

    await attacker.keep(7, one)


async def dripping_uploads(attacker):
    """Send 500 uploads at a byte a second, from ten addresses, in each way there is."""
    await attacker.keep(500, lambda number: _drip(attacker, number % 10, _begun(number)))


async def dripping_uploads_of_one(attacker):
    """The same from a single address."""
    await attacker.keep(500, lambda number: _drip(attacker, 0, _begun(number)))


def _begun(number):
    """Return the head of an upload of 20 MB and the start of its body, one way or another."""
    length, form = {"Content_Length": _LIMIT_BYTES}, {"Content_Type": _FORM_TYPE}
    # Of the whole body that never comes.
    digest = f"sha-256=:{base64.b64encode(hashlib.sha256().digest()).decode()}:"
    return (
        upload(b"", **length) + _JPEG_START,
        upload(b"", Content_Digest=digest, **length) + _JPEG_START,
        upload(b"", Idempotency_Key=f"drip-{number}", **length) + _JPEG_START,
        upload(b"", **length, **form) + _PART + _JPEG_START,
        _batch(b"", Idempotency_Key=f"drip-{number}", **length) + _PART + _JPEG_START,
    )[number % 5]


async def _drip(attacker, client, begun, *, byte=b"a", seconds=1):
    opened = await attacker.connect(client)
    reading = asyncio.create_task(attacker.read(opened))
    try:
        await attacker.send(opened, begun)
        while not reading.done():
            await attacker.send(opened, byte)
            await asyncio.wait({reading}, timeout=seconds)
    finally:
        reading.cancel()
        await asyncio.wait({reading})
        attacker.close(opened)


async def full_shares(attacker):
    """Send 18 MB of 20 on seven connections of one client, then 21,500 bytes a second each."""
    await attacker.keep(7, lambda _: _nearly_complete(attacker, 0))


async def full_shares_of_seven(attacker):
    """The same, each from an address of its own."""
    await attacker.keep(7, lambda number: _nearly_complete(attacker, number))


async def _nearly_complete(attacker, client):
    begun = upload(b"", Content_Length=_LIMIT_BYTES) + _JPEG_START + bytes(18_000_000)
    await _drip(attacker, client, begun, byte=bytes(10_750), seconds=0.5)


async def large_uploads(attacker):
    """Upload 200 files of 20 MB at once, alone and in batches, again and again."""
    file = _JPEG_START.ljust(_LIMIT_BYTES, b"a")
    form = _PART + file + b"\r\n--b--\r\n"
    kinds = [upload(file), _batch(form), upload(file, Idempotency_Key="large")]
    await attacker.keep(200, lambda number: attacker.ask(kinds[number % len(kinds)]))


async def leaving_batches(attacker):
    """Send 4.7 batches a second of ten pictures of a megapixel, and leave 30 ms after each."""
    picture = _PART + attacker.bytes_of("landscape") + b"\r\n"
    data = _batch(picture * 10 + b"--b--\r\n")
    await attacker.every(1 / 4.7, lambda _: _leave(attacker, data))


async def leaving_keys(attacker):
    """Send one upload under one key 4.7 times a second, and leave 30 ms after each."""
    data = upload(attacker.bytes_of("landscape"), Idempotency_Key="leaving")
    await attacker.every(1 / 4.7, lambda _: _leave(attacker, data))


async def wrong_lengths(attacker):
    """Send ten bodies a second that are longer than said, or end before that."""
    picture = attacker.bytes_of("landscape")
    form = _PART + picture + b"\r\n--b--\r\n"
    kinds = [
        (make(body, Content_Length=len(body) + more), more > 0)
        for make, body in ((upload, picture), (_batch, form))
        for more in (-1_000, 1_000)
    ]

    async def one(number):
        data, is_short = kinds[number % len(kinds)]
        await attacker.ask(data, half_close=is_short)

    await attacker.every(0.1, one)


async def flat_webp(attacker):
    """Upload four pictures a second of 7,000 by 7,140 px of one colour, 32 bytes each: 1 KB/s."""
    data = upload(flat_webp_file(7000, 7140), Content_Type=_ANY)
    await attacker.every(0.25, lambda _: attacker.ask(data))


async def flat_webp_from_many(attacker):
    """The same, each from the next of 50 addresses."""
    data = upload(flat_webp_file(7000, 7140), Content_Type=_ANY)
    await attacker.every(0.25, lambda number: attacker.ask(data, number % 50))


async def leaving_uploads(attacker):
    """Upload 4.7 pictures of a megapixel and 59 KB a second, and leave 30 ms after each."""
    data = upload(attacker.bytes_of("landscape"))
    await attacker.every(1 / 4.7, lambda _: _leave(attacker, data))


async def leaving_flat_webp(attacker):
    """Upload 4.7 of the flat pictures a second, and leave 30 ms after each: 1 KB/s."""
    data = upload(flat_webp_file(7000, 7140), Content_Type=_ANY)
    await attacker.every(1 / 4.7, lambda _: _leave(attacker, data))


def _batch(body, **headers):
    return request("POST", "/images/batch", body, Content_Type=_FORM_TYPE, **headers)


async def _leave(attacker, data):
    opened = await attacker.connect()
    try:
        await attacker.send(opened, data)
        await asyncio.sleep(0.03)
    finally:
        attacker.close(opened)


async def near_boundaries(attacker):
    """Send one form of 20 MB after the other, all of it boundaries but for their last byte.

    Of the patterns tried, this one was the dearest to python-multipart: 0.3 s a megabyte.
    """
    boundary = "b"
    start = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"'.encode()
    start += b"\r\n\r\n"
    line = b"\r\n--b-x"
    body = start + line * ((_LIMIT_BYTES - len(start)) // len(line))
    data = upload(body, Content_Type=f"multipart/form-data; boundary={boundary}")
    await attacker.keep(1, lambda _: attacker.ask(data), pause_seconds=0)


async def tiny_chunks(attacker):
    """Send chunked bodies of chunks of one byte, four at a time."""
    head = upload(b"", Transfer_Encoding="chunked")
    data = head + b"1\r\na\r\n" * 100_000
    await attacker.keep(4, lambda _: attacker.ask(data))


async def small_chunks(attacker):
    """Send chunked bodies of chunks of six bytes, just under the bound on framing, four at once."""
    head = upload(b"", Transfer_Encoding="chunked")
    data = head + b"6\r\naaaaaa\r\n" * 100_000 + b"0\r\n\r\n"
    await attacker.keep(4, lambda _: attacker.ask(data))


async def bombs(attacker):
    """Two files a second, each a bomb of another format; see `tests/support/bombs.py`."""
    files = [upload(attacker.bytes_of(name), Content_Type=_ANY) for name in attacker.given["bombs"]]
    await attacker.every(0.5, lambda number: attacker.ask(files[number % len(files)]))


async def many_frames(attacker):
    """Twenty GIFs a second of 1,000 frames of a pixel each, 15 KB: 300 KB/s."""
    data = upload(attacker.bytes_of("frames"), Content_Type=_ANY)
    await attacker.every(0.05, lambda _: attacker.ask(data))


async def unfollowed_expectations(attacker):
    """Announce 20 uploads of 20 MB with `Expect: 100-continue`, and send no body."""
    data = upload(b"", Content_Length=_LIMIT_BYTES, Expect="100-continue")

    async def one(_):
        opened = await attacker.connect()
        try:
            await attacker.send(opened, data)
            await attacker.read(opened)
        finally:
            attacker.close(opened)

    await attacker.keep(20, one)


async def unknown_deletions(attacker):
    """Delete images that never were, 50 at once."""
    numbers = count()

    async def one(_):
        # The position of the first record of all, and a cookie that it does not have. Octal
        # digits, of which base32 lacks two.
        image_id = "a" * 24 + f"{next(numbers):08o}".replace("0", "y").replace("1", "z")
        await attacker.ask(request("DELETE", f"/images/{image_id}"))

    await attacker.keep(50, one, pause_seconds=0.1)


def flat_webp_file(width, height):
    """Return a lossless WebP of one colour, whose pixels have codes of no bits.

    Source: RFC 9649, section 3 (bits are packed from the lowest on).
    """
    bits = [(0x2F, 8), (width - 1, 14), (height - 1, 14), (0, 1), (0, 3)]
    # No transform, no colour cache, no meta prefix codes.
    bits += [(0, 1)] * 3
    # Five simple codes of one symbol: green, red, blue, alpha in 8 bits each, distance in one.
    for symbol in (120, 130, 140, 255):
        bits += [(1, 1), (0, 1), (1, 1), (symbol, 8)]
    bits += [(1, 1), (0, 1), (0, 1), (0, 1)]
    value = shift = 0
    for number, width_bits in bits:
        value |= number << shift
        shift += width_bits
    payload = value.to_bytes((shift + 15) // 16 * 2, "little")
    chunk = b"VP8L" + len(payload).to_bytes(4, "little") + payload
    return b"RIFF" + (len(chunk) + 4).to_bytes(4, "little") + b"WEBP" + chunk
