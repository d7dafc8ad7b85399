"""The Python client of openapi-generator at work; docs/clients/python.md shows it."""

import json
import sys
from pathlib import Path

from imagegate_client import ApiClient, ApiException, Configuration, ImagesApi

configuration = Configuration(host=sys.argv[1], access_token=sys.argv[2])
with ApiClient(configuration) as client:
    images = ImagesApi(client)

    picture = Path("img.jpg").read_bytes()
    uploaded = images.upload_image(("img.jpg", picture), profile="lossless")

    described = images.describe_image(uploaded.id)

    Path("out.jpg").write_bytes(images.download_image(uploaded.id))

    first = images.list_images(limit=1)
    second = images.list_images(limit=1, cursor=first.next_cursor)

    try:
        images.upload_image("notes.txt")  # a path
    except ApiException as error:
        refused = error.data

    images.delete_image(uploaded.id)
    try:
        images.describe_image(uploaded.id)
    except ApiException as error:
        gone = error.data

# For the tests.
report = {
    "image": described.to_dict(),
    "pages": [image.id for image in (*first.images, *second.images)],
    "refused": [refused.status, refused.code],
    "gone": [gone.status, gone.code],
}
json.dump(report, sys.stdout, default=str)
