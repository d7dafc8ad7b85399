"""An image that a reader came to before the key of its name was there."""

import asyncio

from app import settings
from app.reader.image import Image
from app.reader.source import opened_source
from app.reader.view import View
from app.sealing.configured import data_keys
from tests.support.in_process import in_process
from tests.support.sealing import K1, K2, NAME, SMALL, ring, sealing, upload


async def test_once_its_bytes_are_read_it_is_named(tmp_path):
    async with in_process(tmp_path / "data", **sealing(k1=K1)) as client:
        stored = await upload(client, SMALL)
    file = tmp_path / "sealing-keys"
    file.write_text(ring(k2=K2))
    keys = data_keys(settings.load(sealing={"keys_file": str(file)}).sealing)
    async with opened_source(str(tmp_path / "data"), {}) as (log, signatures):
        view = View(log, tmp_path / "state", signatures, keys)
        await view.open()
        await view.filled()
        listed = await view.catalog.image(stored["id"])
        image = Image(view, listed, await view.find(stored["id"]))
        assert image.filename is None
        file.write_text(ring(k2=K2, k1=K1))
        async with asyncio.timeout(15):
            while await view.catalog.count_locked():
                await asyncio.sleep(0.02)
        assert len(await image.bytes()) == stored["content_length"]
        assert (image.filename, image.facts["filename"]) == (NAME, NAME)
        await view.close()
