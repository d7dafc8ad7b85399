"""Attacks that read: nothing of what they asked for, or what is dear to make.

Each is one client, 127.0.0.2, unless it says otherwise.
"""

import asyncio

from tests.support.siege.attacker import request

# A client that reads nothing cannot see that it was cut off: it comes again after this.
_PATIENCE_SECONDS = 15


async def unread_downloads(attacker):
    """Ask for an image of 5 MB on 180 connections, and read nothing."""
    await _unread(attacker, 180, request("GET", attacker.given["large"], Connection=""))


async def unread_lists(attacker):
    """Ask for 1,000 images of the list, 20 times on each of 50 connections, and read nothing."""
    await _unread(attacker, 50, request("GET", "/images?limit=1000", Connection="") * 20)


async def unread_pictures(attacker):
    """Watch pictures on 20 connections without reading, while one of 5 MB comes each second."""
    head = {"Content_Type": "image/jpeg"}
    data = request("POST", "/images?profile=original", attacker.bytes_of("picture"), **head)
    watching = _unread(attacker, 20, request("GET", "/streams/images.mjpeg"))
    coming = attacker.every(1, lambda _: attacker.ask(data, client=1))
    await asyncio.gather(watching, coming)


async def _unread(attacker, count, data):
    async def one(_):
        opened = await attacker.connect(receive_buffer=4096)
        try:
            await attacker.send(opened, data)
            await asyncio.sleep(_PATIENCE_SECONDS)
        finally:
            attacker.close(opened)

    await attacker.keep(count, one)


async def one_byte_ranges(attacker):
    """Ask for one byte of an image of the profile archive, 20 at once: 10 KB/s."""
    data = request("GET", attacker.given["archive"], Range="bytes=0-0")
    await attacker.keep(20, lambda _: attacker.ask(data), pause_seconds=0.1)


async def replays(attacker):
    """Have every event sent again to 100 clients; each reads 2 MB, and begins anew."""
    data = request("GET", "/streams/images", Last_Event_ID="-1")

    async def one(number):
        opened = await attacker.connect(number)
        try:
            await attacker.send(opened, data)
            await attacker.read(opened, 2_000_000)
        finally:
            attacker.close(opened)

    await attacker.keep(100, one)


async def long_lists(attacker):
    """Ask for 1,000 images of the list, four at once."""
    data = request("GET", "/images?limit=1000")
    await attacker.keep(4, lambda _: attacker.ask(data), pause_seconds=0.1)


async def heads(attacker):
    """Ask for the head of an image, 20 times in one go, ten goes a second."""
    data = request("HEAD", attacker.given["image"], Connection="") * 20
    last = request("HEAD", attacker.given["image"])
    await attacker.every(0.1, lambda _: attacker.ask(data + last))


async def many_headers(attacker):
    """Send 20 requests a second of 6,000 lines of headers each, 24 KB: 480 KB/s."""
    await attacker.every(0.05, lambda _: attacker.ask(_with_lines(b"a:\r\n" * 6_000)))


async def many_etags(attacker):
    """Send 20 conditional requests a second that name 7,000 entity tags, 28 KB: 560 KB/s."""
    line = b"If-None-Match: " + b",".join([b'"a"'] * 7_000) + b"\r\n"
    await attacker.every(0.05, lambda _: attacker.ask(_with_lines(line, attacker.given["image"])))


async def many_ranges(attacker):
    """Send 20 requests a second for 7,000 ranges of an image, 28 KB: 560 KB/s."""
    line = b"Range: bytes=" + b",".join([b"0-0"] * 7_000) + b"\r\n"
    await attacker.every(0.05, lambda _: attacker.ask(_with_lines(line, attacker.given["image"])))


def _with_lines(lines, path="/health/live"):
    return request("GET", path).removesuffix(b"\r\n") + lines + b"\r\n"
