"""The examples of the API's description: one image, its page and its headers.

A real gateway returned these values, so they agree: the digest in the JSON is also the entity tag.
"""

from __future__ import annotations

from app.records.views import digest_field

IMAGE_ID = "aabaaaaaaaaaawannwvxlqtvrjfyq2au"
FORMER_ID = "aaaaaaaaaaacs4dboiwwn7sowmmsp6da"
IMAGE_PATH = f"/images/{IMAGE_ID}"
FILENAME = "img.jpg"
CONTENT_TYPE = "image/jpeg"
CONTENT_LENGTH = 45_013
SHA_256 = "30fbb367cd1eabeca06069458951c5f2e00530d869041cb932b83221970fc34c"
DIGEST = f"sha256:{SHA_256}"
REPR_DIGEST = digest_field(SHA_256)
ETAG = f'"{SHA_256}"'
WIDTH, HEIGHT = 640, 480
CREATED_AT = "2026-11-22T23:03:28.273000Z"
EXPIRES_AT = "2027-11-22T23:03:28Z"
SEQUENCE = 42
CODEC = "jpegli q85"
METADATA_REMOVED = ["exif", "gps", "thumbnail"]
QUALITY = None
PROFILE = "balanced"
OWNER = "key:MungAOfCgxD"
VISIBILITY = "owner"
SOURCE = "camera-7"
METADATA = "strip"
RECEIVED_BYTES = 128_797
RECEIVED_DIGEST = "sha256:e792c7954bd9452601015f30ddac45b9dc5482cd0228bc4ce76b74f0694f4347"
# base64url of a sequence number.
CURSOR = "NDI"
REQUEST_ID = "4d5f0f4a3c1b4e0f8a4b1d1c2e3f4a5b"

IMAGE = {
    "id": IMAGE_ID,
    "url": IMAGE_PATH,
    "sequence": SEQUENCE,
    "created_at": CREATED_AT,
    "content_type": CONTENT_TYPE,
    "content_length": CONTENT_LENGTH,
    "digest": DIGEST,
    "width": WIDTH,
    "height": HEIGHT,
    "frame_count": 1,
    "filename": FILENAME,
    "profile": PROFILE,
    "receipt": {
        "received_bytes": RECEIVED_BYTES,
        "stored_bytes": CONTENT_LENGTH,
        "received_digest": RECEIVED_DIGEST,
        "codec": CODEC,
        "kept": False,
        "metadata_removed": METADATA_REMOVED,
        "quality": QUALITY,
        "metadata": METADATA,
    },
}
IMAGE_PAGE = {"images": [IMAGE], "next_cursor": CURSOR}
LINK_ID = "Yk3mBv0zq1TtQw8R"
LINK_URL = (
    f"{IMAGE_PATH}?expires=1795651200&by=key:MungAOfCgxD&link={LINK_ID}"
    "&signature=qX0fY8T0m9Zg0o1N7n0c3J1kzJb6v2y4k8m5w3s7d1A"
)
LINK_EXPIRES_AT = "2026-11-26T00:00:00Z"
