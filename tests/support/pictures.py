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
