"""Damaged images without end: each is refused or tolerated, and none is a mistake of ours.

    python -m tests.imaging.fuzz SECONDS [SEED]

Each input is a small image of some kind with bits flipped, bytes replaced, or its end cut off,
and goes through `develop` under some profile and metadata option. The result has to be an image
that is accepted again, of the announced size, and another decoder has to see in it what it sees in
the input. What that decoder refuses as damaged is not compared, as decoders may make different
pictures of it; neither is a result that is the input.

An input that is refused by the wrong exception, or that looks different, is printed with its path,
and the exit status is 1. A codec that ends its process is a worker and a 422 in the gateway: such
inputs are counted, and printed with the call that they end in.
"""

import contextlib
import ctypes
import io
import multiprocessing
import os
import pickle
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path
from struct import unpack_from

from PIL import ImageCms

from app.errors import EmptyBodyError, ImageRefusedError, UnsupportedFormatError
from app.imaging.containers.tiff_directories import only_page
from app.imaging.develop import develop
from app.imaging.formats import ImageFormat, sniff
from app.imaging.limits import ImageLimits
from app.imaging.metadata.metadata import MetadataOption
from app.imaging.profiles import Profile, Recipe
from tests.support import blocks, every_kind, images, other_decoder
from tests.support.developing import examine, served
from tests.support.other_decoder import OtherDecoder, RefusedError

# The part of a file that holds its structure.
HEAD_BYTES = 600
SIZE = (64, 48)

# A kept picture is the same to any decoder. Samples of 16 and of 5 bits are rounded by each in its
# own way. A lossy one is compared in blocks, and loses some of its noise.
KEPT, EXACT, LOSSY, ANYTHING = 0, 1.5, 8, 255
NUMBERS, MARKS = b"\0\1", (b"ICC_PROFILE\0\1\1", b"Exif\0\0")
# Of a BMP: what comes before its header, the shortest one with all that is looked at, and
# compressions of runs.
BMP_START_BYTES, BMP_HEADER_BYTES, BMP_CORE_HEADER_BYTES, RUNS = 14, 54, 12, {1, 2}
COUNTS = (
    *("images", "accepted", "compared", "unchanged", "refused by the other decoder"),
    *("of a kind that decoders differ on", "that the other decoder sees differently each time"),
    *("ended their process", "mistakes of ours"),
)


def seeds():
    """Return a picture in each format, animations and odd kinds included."""
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
    usual = [
        *(make(picture) for make in plain),
        *(with_exif(picture, name, camera) for name in ("JPEG", "PNG", "WEBP", "AVIF", "HEIF")),
        images.jpeg(picture, progressive=True),
        images.jpeg(images.photo(SIZE, "CMYK"), icc=False),
        images.tiff(picture, compression="tiff_lzw"),
        *(images.animated(name) for name in ("GIF", "PNG", "WEBP")),
    ]
    return usual, [data for _, data in every_kind.files()]


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


def check(data, developed, counts, decoder):
    """Raise where the result is no image, not the announced one, or not what the input was."""
    file, info = served(developed), developed.info
    try:
        again = examine(file)
    except (EmptyBodyError, ImageRefusedError, UnsupportedFormatError) as error:
        raise AssertionError(f"the image stored as {info.codec} is refused") from error
    assert again.size == (info.width, info.height)
    assert again.frame_count == info.frame_count
    assert len(file) == info.content_length
    counts["accepted"] += 1
    if file == data:
        counts["unchanged"] += 1
    elif other_decoder.IS_INSTALLED:
        compare(data, file, info, counts, decoder)


def compare(data, file, info, counts, decoder):
    """Raise where another decoder sees something else in the result than in the input."""
    if differ_by_nature(data):
        counts["of a kind that decoders differ on"] += 1
        return
    try:
        before = decoder.see(data)
    except RefusedError:
        counts["refused by the other decoder"] += 1
        return
    counts["compared"] += 1
    is_exact = info.kept or info.profile not in {Profile.BALANCED, Profile.SMALL}
    if is_exact:
        most = KEPT if info.kept else EXACT
    else:
        most = LOSSY + other_decoder.busyness(before.picture) / 4
        before = before._replace(picture=resized(before.picture, info))
        if sniff(data) is ImageFormat.HEIC:
            most = ANYTHING  # each decoder hides damage in its own way, and says nothing
    said = other_decoder.difference(before, decoder.see(file), most, coarsely=not is_exact)
    if said and is_of_same_samples(data, file):
        # Decoders read different colours from a damaged profile, or pass over it.
        both = (decoder.see(each, in_srgb=False) for each in (data, file))
        said = other_decoder.difference(*both, most, coarsely=not is_exact)
    if said and not is_steady(data, decoder):
        counts["that the other decoder sees differently each time"] += 1
        return
    assert not said, said


def is_steady(data, decoder):
    """Tell whether the other decoder sees the input as before, when asked again.

    Debian's libde265 does not in a damaged HEIC: it shows memory that nothing was decoded into. The
    gateway's, which is newer, shows the same each time.
    """
    first, *others = (decoder.see(data) for _ in range(4))
    return not any(other_decoder.difference(first, each, 0) for each in others)


def resized(picture, info):
    """Return the picture in the size that is stored, where it was too large for `small`."""
    is_large = info.profile == Profile.SMALL and max(picture.size) > max(info.width, info.height)
    return picture.resize((info.width, info.height)) if is_large else picture


def is_of_same_samples(data, file):
    """Tell whether both have the same colour profile, or the first one that means nothing."""
    try:
        # Pillow passes over all entries of a TIFF behind one that claims more than the file has.
        profile = images.profile_of(only_page(data) if sniff(data) is ImageFormat.TIFF else data)
        if not profile:
            return False
        source, target = io.BytesIO(profile), ImageCms.createProfile("sRGB")
        ImageCms.buildTransform(source, target, "RGB", "RGB")
        return profile == images.profile_of(file)
    except Exception:  # noqa: BLE001 - damaged
        return True


def differ_by_nature(data):
    """Tell whether decoders show different pictures of this file, each with some right."""
    if data[:2] == b"\xff\xd8":
        # libvips does not ask for the zero and the numbers of a profile (ICC.1:2022, B.4), and
        # libexif for a second zero, which browsers pass over.
        return any(data.count(text.rstrip(NUMBERS)) != data.count(text) for text in MARKS)
    if data[:4] == b"GIF8":
        # Browsers look at three bits of the loop's id, and at no length.
        return data.count(b"NETSCAPE2.0") != data.count(b"NETSCAPE2.0\3\1")
    if data[:2] != b"BM" or len(data) < BMP_HEADER_BYTES:
        return False
    (offset, header), (bits, compression) = (
        unpack_from("<II", data, 10),
        unpack_from("<HI", data, 28),
    )
    (colours,) = unpack_from("<I", data, 46)
    # Where a run is longer than its row, ImageMagick goes on in the next row. An index beyond the
    # palette it takes for the first one. It believes in pixels that begin in the header or palette.
    most = 1 << bits if bits <= 8 else 0
    is_short = 0 < colours < 1 << min(bits, 8)
    palette_bytes = min(colours or most, most) * (3 if header == BMP_CORE_HEADER_BYTES else 4)
    is_inside = offset < BMP_START_BYTES + header + palette_bytes
    return compression in RUNS or is_short or is_inside


def develop_one(data, recipe, counts, decoder):
    """Develop an input; raises whatever is a mistake of ours."""
    with contextlib.suppress(EmptyBodyError, ImageRefusedError, UnsupportedFormatError):
        check(data, develop(data, sniff(data), ImageLimits(), recipe), counts, decoder)


def fuzz(seed, ends, shared, folder):
    """Develop damaged images until a time, and print mistakes of ours."""
    silence()
    counts, chance = Counts(shared), random.Random(seed)
    whole, current = seeds(), Path(folder) / f"{seed}.input"
    with OtherDecoder() as decoder:
        while time.time() < ends:
            data = damage(chance.choice(chance.choice(whole)), chance)
            recipe = Recipe(
                chance.choice(list(Profile)),
                chance.choice(list(MetadataOption)),
                webp=chance.random() < 0.5,
                avif=chance.random() < 0.1,
            )
            counts["images"] += 1
            current.write_bytes(pickle.dumps((data, recipe)))
            try:
                develop_one(data, recipe, counts, decoder)
            except Exception:  # noqa: BLE001 - any is a mistake of ours
                counts["mistakes of ours"] += 1
                path = Path(folder) / f"{seed}-{counts['images']}.bin"
                path.write_bytes(data)
                print(f"{path} under {recipe}:\n{traceback.format_exc()}", flush=True)
    os._exit(0)


def again(data, recipe, call):
    """Develop an input with the name of each call of a codec in `call`, which outlives it."""
    silence()

    def note(_frame, event, function):
        if event == "c_call":
            owner = getattr(function, "__module__", None) or type(function.__self__).__name__
            call.value = f"{owner}.{function.__qualname__}".encode()[: len(call) - 1]

    sys.setprofile(note)
    with contextlib.suppress(EmptyBodyError, ImageRefusedError, UnsupportedFormatError):
        develop(data, sniff(data), ImageLimits(), recipe)
    sys.setprofile(None)
    call.value = b""


def silence():
    """Close standard error, on which decoders complain a thousand times a second."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


class Counts:
    """Numbers that outlive the process that counts."""

    def __init__(self, shared):
        self._shared = shared

    def __getitem__(self, name):
        return self._shared[COUNTS.index(name)]

    def __setitem__(self, name, number):
        self._shared[COUNTS.index(name)] = number


def end_of(context, path):
    """Say in which call an input ended its process, by developing it once more."""
    data, recipe = pickle.loads(path.read_bytes())  # noqa: S301 - our own file
    kept = path.with_suffix(".bin")
    kept.write_bytes(data)
    call = context.Array(ctypes.c_char, 200)
    process = context.Process(target=again, args=(data, recipe, call))
    process.start()
    process.join()
    where = call.value.decode() or "not once more"
    return f"{kept} under {recipe} ended its process ({process.exitcode}): {where}"


def main():
    ends = time.time() + float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(10**6)
    context = multiprocessing.get_context("spawn")
    shared = context.Array("Q", len(COUNTS))
    counts, folder = Counts(shared), tempfile.mkdtemp(prefix="imagegate-fuzz-")
    while time.time() < ends:
        process = context.Process(target=fuzz, args=(seed, ends, shared, folder))
        before = counts["images"]
        process.start()
        process.join()
        if process.exitcode and counts["images"] == before:
            sys.exit("nothing is fuzzed: the process does not start")
        if process.exitcode:
            counts["ended their process"] += 1
            print(end_of(context, Path(folder) / f"{seed}.input"), flush=True)
        seed += 1
    print("; ".join(f"{counts[name]:,} {name}" for name in COUNTS), f"(in {folder})")
    if not other_decoder.IS_INSTALLED:
        print("nothing was compared: libvips is not installed (apt-get install libvips-tools)")
    sys.exit(bool(counts["mistakes of ours"]))


if __name__ == "__main__":
    main()
