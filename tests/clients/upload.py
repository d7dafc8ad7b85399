"""The generated Python client at work; docs/clients.md shows it. Arguments: URL and API key."""

import json
import sys
from pathlib import Path

from imagegate_client import AuthenticatedClient
from imagegate_client.api.images import download_image, list_images, upload_image
from imagegate_client.models import Image, ImagePage, Problem, UploadForm
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

# For the tests.
result = {
    "uploaded": uploaded.to_dict(),
    "listed": [image.id for image in page.images],
    "problem": problem.to_dict(),
}
json.dump(result, sys.stdout)
