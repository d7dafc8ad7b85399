"""Each profile over a folder of photos: bytes saved, CPU time, and how near the result comes.

    .venv/bin/pip install 'ssimulacra2>=0.3,<0.4'
    .venv/bin/python -m bench.imaging FOLDER

The first line once: with NumPy and SciPy it is 250 MB that nothing else needs.

Per photo and profile: `develop` as a worker calls it, next to a bare decode of the same file. CPU
milliseconds a megapixel, the median of three runs; SSIMULACRA2 of what is served against what was
uploaded, both in their own colours, of the same size (100: no difference; 90: none that is seen;
70: high quality). A profile's line is the median over the photos.
"""

import io
import statistics
import sys
import time
from pathlib import Path

import pillow_heif
from PIL import Image, ImageOps

from app.imaging.develop import develop, examine
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile
from bench.rounds import show

try:
    from ssimulacra2 import compute_ssimulacra2
except ImportError:
    sys.exit("bench.imaging needs ssimulacra2: .venv/bin/pip install 'ssimulacra2>=0.3,<0.4'")


RUNS = 3
# Of larger pictures only a part is scored, cut from the middle: it takes a second a megapixel.
SCORED_SIDE = 1024


def main():
    pillow_heif.register_heif_opener()
    photos = sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_file())
    samples = [path.read_bytes() for path in photos]
    show(f"{len(samples)} photos, medians", [_row(profile, samples) for profile in Profile])


def _row(profile, samples):
    measured = [_measure(profile, data) for data in samples]
    saved, cpu, decode, score = (
        statistics.median(column) for column in zip(*measured, strict=True)
    )
    return {
        "profile": profile.value,
        "bytes saved": f"{saved:.0%}",
        "ms/MP": f"{cpu:.1f}",
        "decode ms/MP": f"{decode:.1f}",
        "SSIMULACRA2": f"{score:.1f}",
    }


def _measure(profile, data):
    seconds, developed = _timed(lambda: develop(data, ImageLimits(), profile))
    decode_seconds, decoded = _timed(lambda: examine(data, ImageLimits()))
    megapixels = decoded.image.width * decoded.image.height / 1e6
    return (
        1 - len(developed.data) / len(data),
        seconds * 1000 / megapixels,
        decode_seconds * 1000 / megapixels,
        _score(data, developed.data),
    )


def _timed(work):
    taken = []
    for _ in range(RUNS):
        started = time.process_time()
        result = work()
        taken.append(time.process_time() - started)
    return statistics.median(taken), result


def _score(before, after):
    pictures = [ImageOps.exif_transpose(Image.open(io.BytesIO(each))) for each in (before, after)]
    original, served = (picture.convert("RGB") for picture in pictures)
    if original.size != served.size:
        original = original.resize(served.size, Image.Resampling.LANCZOS)
    left = max((served.width - SCORED_SIDE) // 2, 0)
    top = max((served.height - SCORED_SIDE) // 2, 0)
    box = (left, top, min(left + SCORED_SIDE, served.width), min(top + SCORED_SIDE, served.height))
    files = [io.BytesIO(), io.BytesIO()]
    for picture, file in zip((original, served), files, strict=True):
        picture.crop(box).save(file, "PNG", compress_level=1)
        file.seek(0)
    return compute_ssimulacra2(*files)


if __name__ == "__main__":
    main()
