"""The generated Python client at work; docs/clients.md shows it. Arguments: URL and API key."""

import json
import sys
from pathlib import Path

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

with Path("img.jpg").open("rb") as picture:
    form = UploadForm(file=File(payload=picture, file_name="img.jpg"))
    uploaded = upload_image.sync(client=client, body=form)
assert isinstance(uploaded, Image), uploaded

downloaded = download_image.sync(uploaded.id, client=client)
assert isinstance(downloaded, File), downloaded
Path("out.jpg").write_bytes(downloaded.payload.read())

page = list_images.sync(client=client, limit=10)
assert isinstance(page, ImagePage), page

with Path("broken.jpg").open("rb") as picture:
    form = UploadForm(file=File(payload=picture, file_name="broken.jpg"))
    problem = upload_image.sync(client=client, body=form)
assert isinstance(problem, Problem), problem

with Path("img.jpg").open("rb") as first, Path("broken.jpg").open("rb") as second:
    files = [File(payload=first, file_name="img.jpg"), File(payload=second, file_name="b.jpg")]
    batch = upload_batch.sync(client=client, body=BatchForm(file=files))
assert isinstance(batch, BatchResults), batch
stored = [each.image for each in batch.results if isinstance(each, StoredImage)]

# For the tests.
result = {
    "uploaded": uploaded.to_dict(),
    "listed": [image.id for image in page.images],
    "problem": problem.to_dict(),
    "batch": batch.to_dict()["results"],
    "stored": [image.id for image in stored],
}
json.dump(result, sys.stdout)
