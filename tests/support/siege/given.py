"""What is prepared for a siege: files to send, images to read, and a catalog that is full."""

from PIL import Image

from app.events.event import encode
from app.log import EVENTS
from app.log.sqlite.log import SqliteLog
from tests.support import bombs, images
from tests.support.facts import stored

_BATCH = 1_000


def photo():
    """A JPEG of 50 KB, about as hard on a codec as a photo."""
    return images.jpeg(images.photo((268, 320), noise=60), quality=95, private=False)


def landscape():
    """A JPEG of a megapixel and 59 KB, which takes a worker 0.1 s."""
    return images.jpeg(images.photo((1200, 900), noise=10), quality=80, private=False)


def large():
    """A JPEG of 5 MB that is stored as it is, in no time."""
    return images.jpeg(images.photo((1900, 1900), noise=255), quality=95, private=False)


def archived():
    """A JPEG of 3 MB, which the profile archive packs."""
    return images.jpeg(images.photo((2000, 2000), noise=60), quality=95, private=False)


def frames():
    """A GIF of as many frames as are allowed."""
    return bombs.long_gif(1_000)


def bomb_files():
    """Files of several formats that ask for much: some over the limits, most just under them."""
    bit = Image.new("1", (7000, 7000))
    grey = Image.new("L", (7000, 7000), 128)
    return {
        "over.png": bombs.bomb_png(),
        "over.gif": bombs.long_gif(100_000),
        "spinning.jpg": bombs.spinning_jpeg(),
        "flat.png": images.saved(bit, "PNG"),
        "flat.tiff": images.saved(bit, "TIFF", compression="group4"),
        "flat.jpg": images.saved(grey, "JPEG", progressive=True),
        "flat.gif": images.saved(grey, "GIF"),
    }


def write_files(folder, *, with_bombs):
    """Write every file; return their paths by name, and the names of the bombs, which take 4 s."""
    bombing = bomb_files() if with_bombs else {}
    made = {
        "photo": photo(),
        "picture": large(),
        "landscape": landscape(),
        "frames": frames(),
    } | bombing
    paths = {}
    for name, data in made.items():
        path = folder / name
        path.write_bytes(data)
        paths[name] = str(path)
    return paths | {"bombs": list(bombing)}


def store_images(client):
    """Upload the images that are read in sieges; return their paths at the gateway by name."""

    def store(data, profile):
        answer = client.post("/images", params={"profile": profile}, content=data)
        assert answer.status_code == 201, answer.text
        return answer.json()["url"]

    # The last one is what those who watch pictures get first.
    return {
        "image": store(photo(), "original"),
        "archive": store(archived(), "archive"),
        "large": store(large(), "original"),
    }


async def fill_facts(data_dir, count):
    """Write events of images that nobody uploaded into an embedded log that is new."""
    log = SqliteLog(data_dir)
    await log.start()
    try:
        for start in range(0, count, _BATCH):
            numbers = range(start, min(start + _BATCH, count))
            await log.append(EVENTS, [encode(stored(number)) for number in numbers])
    finally:
        await log.stop()
