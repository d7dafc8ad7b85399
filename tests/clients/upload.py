"""The generated Python client at work; docs/clients.md shows it. Arguments: URL and API key."""

import contextlib
import json
import sys
import time
import uuid
from pathlib import Path

import httpx
from imagegate_client import AuthenticatedClient
from imagegate_client.api.images import (
    download_image,
    list_images,
    upload_batch,
    upload_image,
)
from imagegate_client.models import (
    BatchForm,
    BatchResults,
    Image,
    ImagePage,
    Problem,
    StoredImage,
    UploadForm,
)
from imagegate_client.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])


def upload(name: str, key: str) -> Image | Problem | None:
    with Path(name).open("rb") as picture:
        form = UploadForm(file=File(payload=picture, file_name=name))
        return upload_image.sync(client=client, body=form, idempotency_key=key)


def upload_once(name: str, tries: int = 5) -> Image | Problem | None:
    key = str(uuid.uuid4())
    for pause in range(tries - 1):
        with contextlib.suppress(httpx.TransportError):
            answer = upload(name, key)
            if not (isinstance(answer, Problem) and answer.retryable):
                return answer
        time.sleep(pause)
    return upload(name, key)


uploaded = upload_once("img.jpg")
assert isinstance(uploaded, Image), uploaded

downloaded = download_image.sync(uploaded.id, client=client)
assert isinstance(downloaded, File), downloaded
Path("out.jpg").write_bytes(downloaded.payload.read())

page = list_images.sync(client=client, limit=10)
assert isinstance(page, ImagePage), page

problem = upload_once("broken.jpg")
assert isinstance(problem, Problem), problem

with Path("img.jpg").open("rb") as first, Path("broken.jpg").open("rb") as second:
    files = [File(payload=first, file_name="img.jpg"), File(payload=second, file_name="b.jpg")]
    body = BatchForm(file=files)
    batch = upload_batch.sync(client=client, body=body, idempotency_key=str(uuid.uuid4()))
assert isinstance(batch, BatchResults), batch
stored = [each.image for each in batch.results if isinstance(each, StoredImage)]

# For the tests.
again = [upload("img.jpg", key) for key in ["k" * 32] * 2]
result = {
    "uploaded": uploaded.to_dict(),
    "listed": [image.id for image in page.images],
    "problem": problem.to_dict(),
    "batch": batch.to_dict()["results"],
    "stored": [image.id for image in stored],
    "again": [image.id for image in again if isinstance(image, Image)],
}
json.dump(result, sys.stdout)
