"""Damaged images without end: each is refused or tolerated, and none is a mistake of ours.

    python -m tests.imaging.fuzz SECONDS [SEED]

Each input is a small image of some format with bits flipped, bytes replaced, or its end cut off,
and goes through `develop` under some profile and metadata option. The result has to be an image
that is accepted again, of the announced size. A codec that ends its process is counted: in the
gateway that is a worker, and a 422. Any other exception than a refusal is printed with the path of
the input, and the exit status is 1.
"""

import contextlib
import io
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from app.errors import ImageRefusedError, UnsupportedFormatError
from app.imaging.develop import develop
from app.imaging.formats import sniff
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile, Recipe
from tests.support import blocks, images
from tests.support.developing import examine, served

# The part of a file that holds its structure.
HEAD_BYTES = 600
SIZE = (64, 48)


def seeds():
    """Return a picture in each format, animations and odd compressions included."""
    picture = images.photo(SIZE)
    camera = blocks.camera_exif()
    plain = (
        images.jpeg,
        images.png,
        images.webp,
        images.gif,
        images.avif,
        images.heic,
        images.tiff,
        images.bmp,
    )
    return [
        *(make(picture) for make in plain),
        *(with_exif(picture, name, camera) for name in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")),
        images.jpeg(picture, progressive=True),
        images.jpeg(images.photo(SIZE, "CMYK"), icc=False),
        images.tiff(picture, compression="tiff_lzw"),
        *(images.animated(name) for name in ("GIF", "PNG", "WEBP")),
    ]


def with_exif(picture, format_name, block):
    """Return the picture with a camera's EXIF."""
    output = io.BytesIO()
    block = b"Exif\0\0" + block if format_name in {"JPEG", "WEBP"} else block
    picture.save(output, format_name, exif=block)
    return output.getvalue()


def damage(data, chance):
    """Return the image with something wrong."""
    data = bytearray(data)
    if chance.random() < 0.2:
        return bytes(data[: chance.randrange(len(data))])
    reach = len(data) if chance.random() < 0.4 else min(len(data), HEAD_BYTES)
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        place = chance.randrange(reach)
        flipped = data[place] ^ 1 << chance.randrange(8)
        data[place] = chance.choice((flipped, flipped, 0, 1, 127, 128, 255))
    return bytes(data)


def check(developed):
    """Raise where the result is no image, or not the announced one."""
    try:
        again = examine(served(developed))
    except (ImageRefusedError, UnsupportedFormatError) as error:
        raise AssertionError(f"the image stored as {developed.info.codec} is refused") from error
    assert again.size == (developed.info.width, developed.info.height)
    assert again.frame_count == developed.info.frame_count
    assert len(served(developed)) == developed.info.content_length


def fuzz(seed, ends, count, folder):
    """Develop damaged images until a time; ends with status 1 at a mistake of ours."""
    # Decoders complain on standard error, some of them a thousand times a second.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    chance, whole = random.Random(seed), seeds()
    while time.time() < ends:
        data = damage(chance.choice(whole), chance)
        recipe = Recipe(
            chance.choice(list(Profile)),
            chance.choice(list(MetadataOption)),
            webp=chance.random() < 0.5,
            avif=chance.random() < 0.1,
        )
        count.value += 1
        try:
            with contextlib.suppress(ImageRefusedError, UnsupportedFormatError):
                check(develop(data, sniff(data), ImageLimits(), recipe))
        except Exception:  # noqa: BLE001 - any is a mistake of ours
            path = Path(folder) / f"{seed}-{count.value}.bin"
            path.write_bytes(data)
            print(f"{path} under {recipe}:\n{traceback.format_exc()}", flush=True)
            os._exit(1)
    os._exit(0)


def main():
    ends = time.time() + float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    context = multiprocessing.get_context("spawn")
    count = context.Value("Q", 0)
    folder = tempfile.mkdtemp(prefix="imagegate-fuzz-")
    died = mistakes = 0
    while time.time() < ends:
        process = context.Process(target=fuzz, args=(seed, ends, count, folder))
        process.start()
        before = count.value
        process.join()
        seed += 1
        if time.time() < ends:
            found = any(Path(folder).glob(f"{seed - 1}-*"))
            mistakes, died = mistakes + found, died + (not found)
        if count.value == before:
            sys.exit("nothing is fuzzed: the process does not start")
    print(f"{count.value:,} images, {died} ended their process, {mistakes} mistakes of ours")
    sys.exit(bool(mistakes))


if __name__ == "__main__":
    main()
