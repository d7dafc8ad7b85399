"""A normal client beside those who read nothing, or ask for what is dear to make."""

import pytest

from tests.support.siege import reads


@pytest.mark.cheap
async def test_unread_downloads(siege):
    await siege(reads.unread_downloads)


async def test_unread_lists(siege):
    await siege(reads.unread_lists)


@pytest.mark.cheap
async def test_unread_pictures(siege):
    await siege(reads.unread_pictures)


@pytest.mark.cheap
async def test_one_byte_ranges(siege):
    await siege(reads.one_byte_ranges)


@pytest.mark.cheap
async def test_replays(siege):
    await siege(reads.replays)


async def test_long_lists(siege):
    await siege(reads.long_lists)


async def test_heads(siege):
    await siege(reads.heads)


@pytest.mark.cheap
async def test_many_headers(siege):
    await siege(reads.many_headers)


@pytest.mark.cheap
async def test_many_etags(siege):
    await siege(reads.many_etags)


async def test_many_ranges(siege):
    await siege(reads.many_ranges)
