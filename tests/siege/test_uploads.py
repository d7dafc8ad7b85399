"""A normal client beside those who upload slowly, too much, or what is dear to decode."""

import pytest

from tests.support.siege import uploads


@pytest.mark.cheap
async def test_silent_uploads(siege):
    await siege(uploads.silent_uploads)


@pytest.mark.cheap
async def test_slow_uploads(siege):
    await siege(uploads.slow_uploads)


@pytest.mark.cheap
async def test_dripping_uploads(siege):
    await siege(uploads.dripping_uploads)


async def test_dripping_uploads_of_one(siege):
    await siege(uploads.dripping_uploads_of_one)


async def test_full_shares(siege):
    await siege(uploads.full_shares)


async def test_full_shares_of_seven(siege):
    await siege(uploads.full_shares_of_seven)


async def test_large_uploads(siege):
    await siege(uploads.large_uploads)


async def test_wrong_lengths(siege):
    await siege(uploads.wrong_lengths)


@pytest.mark.cheap
async def test_flat_webp(siege):
    await siege(uploads.flat_webp)


async def test_flat_webp_from_many(siege):
    await siege(uploads.flat_webp_from_many)


@pytest.mark.cheap
async def test_leaving_uploads(siege):
    await siege(uploads.leaving_uploads)


@pytest.mark.cheap
async def test_leaving_batches(siege):
    await siege(uploads.leaving_batches)


async def test_leaving_keys(siege):
    await siege(uploads.leaving_keys)


async def test_leaving_flat_webp(siege):
    await siege(uploads.leaving_flat_webp)


@pytest.mark.cheap
async def test_near_boundaries(siege):
    await siege(uploads.near_boundaries)


@pytest.mark.cheap
async def test_tiny_chunks(siege):
    await siege(uploads.tiny_chunks)


async def test_small_chunks(siege):
    await siege(uploads.small_chunks)


async def test_bombs(siege):
    await siege(uploads.bombs)


async def test_many_frames(siege):
    await siege(uploads.many_frames)


@pytest.mark.cheap
async def test_unfollowed_expectations(siege):
    await siege(uploads.unfollowed_expectations)


@pytest.mark.cheap
async def test_unknown_deletions(siege):
    await siege(uploads.unknown_deletions)
