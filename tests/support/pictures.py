"""Images that a test has uploaded."""

from tests.support import images


class Picture:
    """An uploaded image, and the facts of the answers."""

    def __init__(self, uploaded, downloaded):
        self.json = uploaded.json()
        self.id, self.url = self.json["id"], self.json["url"]
        self.content = downloaded.content
        self.etag = uploaded.headers["etag"]
        self.length = len(self.content)


async def store(client, name="Küste.jpeg", seed=1):
    """Upload a photo; each `seed` makes another."""
    uploaded = await client.post(
        "/images", files={"file": (name, images.jpeg(images.photo(seed=seed)))}
    )
    assert uploaded.status_code == 201, uploaded.text
    return Picture(uploaded, await client.get(uploaded.headers["location"]))


def first_picture(client):
    """Return the newest picture of the live stream."""
    with client.stream("GET", "/streams/images.mjpeg") as answer:
        pieces, received = answer.iter_raw(), b""
        while b"\r\n\r\n" not in received:
            received += next(pieces)
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.rpartition(b"Content-Length: ")[2].split()[0])
        while len(body) < length:
            body += next(pieces)
        return body[:length]
