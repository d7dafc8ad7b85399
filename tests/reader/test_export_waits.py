"""An export while the service that holds its keys is away: it waits, and passes nothing over."""

from types import SimpleNamespace

import pytest

from app.errors import KeyUnavailableError
from app.reader.export import Export


class Reader:
    """One image."""

    async def __aiter__(self):
        yield SimpleNamespace(id="one", content_length=7)


class Files:
    """Files that are written once `errors` are raised."""

    def __init__(self, *errors):
        self._errors = list(errors)

    async def save(self, _):
        if self._errors:
            raise self._errors.pop(0)
        return True


def unavailable(*, is_away):
    error = KeyUnavailableError("No key.")
    error.is_away = is_away
    return error


async def test_it_waits_for_a_key_service_that_is_away(monkeypatch):
    monkeypatch.setattr("app.reader.export._RETRY_SECONDS", 0)
    export = Export(Reader(), Files(*[unavailable(is_away=True)] * 3))
    await export.run()
    assert (export.counts.written, export.counts.failed) == (1, 0)


async def test_it_ends_where_a_key_is_not_here(monkeypatch):
    monkeypatch.setattr("app.reader.export._RETRY_SECONDS", 0)
    export = Export(Reader(), Files(unavailable(is_away=False)))
    with pytest.raises(KeyUnavailableError):
        await export.run()
    assert export.counts.written == 0
