"""The client of openapi-python-client at work; docs/clients/python.md shows it."""

import contextlib
import json
import sys
import time
import uuid
from pathlib import Path

import httpx
from imagegate_client import AuthenticatedClient
from imagegate_client.api.images import (
    delete_image,
    describe_image,
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
    UploadFormProfile,
)
from imagegate_client.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])


def upload(name: str, key: str) -> Image | Problem | None:
    with Path(name).open("rb") as picture:
        form = UploadForm(File(picture, name), profile=UploadFormProfile.LOSSLESS)
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

described = describe_image.sync(uploaded.id, client=client)
assert isinstance(described, Image), described

downloaded = download_image.sync(uploaded.id, client=client)
assert isinstance(downloaded, File), downloaded
Path("out.jpg").write_bytes(downloaded.payload.read())

first = list_images.sync(client=client, limit=1)
assert isinstance(first, ImagePage), first
assert first.next_cursor, "there is one image only"
second = list_images.sync(client=client, limit=1, cursor=first.next_cursor)
assert isinstance(second, ImagePage), second

refused = upload_once("notes.txt")
assert isinstance(refused, Problem), refused

delete_image.sync(uploaded.id, client=client)
gone = describe_image.sync(uploaded.id, client=client)
assert isinstance(gone, Problem), gone

with Path("img.jpg").open("rb") as picture, Path("notes.txt").open("rb") as text:
    body = BatchForm(file=[File(picture, "img.jpg"), File(text, "notes.txt")])
    batch = upload_batch.sync(client=client, body=body, idempotency_key=str(uuid.uuid4()))
assert isinstance(batch, BatchResults), batch
stored = [each.image for each in batch.results if isinstance(each, StoredImage)]

# For the tests.
again = [upload("img.jpg", key) for key in ["k" * 32] * 2]
report = {
    "image": described.to_dict(),
    "pages": [image.id for image in (*first.images, *second.images)],
    "refused": [refused.status, refused.code],
    "gone": [gone.status, gone.code],
    "batch": batch.to_dict()["results"],
    "stored": [image.id for image in stored],
    "again": [image.id for image in again if isinstance(image, Image)],
}
json.dump(report, sys.stdout)
