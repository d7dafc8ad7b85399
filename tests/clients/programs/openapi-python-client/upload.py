"""The client of openapi-python-client at work; docs/clients/python.md shows it."""

import json
import sys
from pathlib import Path

from imagegate_client import AuthenticatedClient
from imagegate_client.api.images import (
    delete_image,
    describe_image,
    download_image,
    list_images,
    upload_image,
)
from imagegate_client.models import Image, ImagePage, Problem, UploadForm, UploadFormProfile
from imagegate_client.types import File

client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])

with Path("img.jpg").open("rb") as picture:
    form = UploadForm(File(picture, "img.jpg"), profile=UploadFormProfile.LOSSLESS)
    uploaded = upload_image.sync(client=client, body=form)
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

with Path("notes.txt").open("rb") as text:
    refused = upload_image.sync(client=client, body=UploadForm(File(text, "notes.txt")))
assert isinstance(refused, Problem), refused

delete_image.sync(uploaded.id, client=client)
gone = describe_image.sync(uploaded.id, client=client)
assert isinstance(gone, Problem), gone

# For the tests.
report = {
    "image": described.to_dict(),
    "pages": [image.id for image in (*first.images, *second.images)],
    "refused": [refused.status, refused.code],
    "gone": [gone.status, gone.code],
}
json.dump(report, sys.stdout)
