"""Each profile over a folder of pictures: bytes saved, CPU time, and likeness.

    .venv/bin/python -m bench.imaging FOLDER

A table for each format in the folder. Per picture and profile: `develop` as a worker calls it, next
to a bare decode of the same file. CPU milliseconds a megapixel, the median of three runs;
SSIMULACRA2 of the served file against the upload, both in their own colours, of the same size
(100: no difference; 90: an invisible one; 70: high quality). A line is the median over the files.
`small, AVIF` is `small` where the server allows it, `lossless, WebP` where the client accepts it.
"""

import statistics
import sys
import time
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from app.errors import InvalidImageError
from app.imaging.codecs.score import score
from app.imaging.decode import upright
from app.imaging.develop import develop, examine
from app.imaging.formats import sniff
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe
from bench.rounds import show
from tests.support.developing import served

RUNS = 3
# Of larger pictures only a part is scored, cut from the middle: it takes a second a megapixel.
SCORED_SIDE = 1024
LIMITS = ImageLimits()
RECIPES = {profile.value: Recipe(profile) for profile in Profile} | {
    "lossless, WebP": Recipe(Profile.LOSSLESS, webp=True),
    "small, AVIF": Recipe(Profile.SMALL, avif=True),
}


def main():
    files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir()) if path.is_file()]
    files.sort(key=label)
    for name, group in groupby(files, key=label):
        samples = list(group)
        rows = []
        for recipe in RECIPES.items():
            with suppress(InvalidImageError):  # not every profile accepts every format
                rows.append(row(recipe, samples))
        show(f"{len(samples)} files of {name}, medians", rows)


def label(data):
    return sniff(data).label


def row(recipe, samples):
    name, recipe = recipe
    measured = [measure(recipe, data) for data in samples]
    saved, cpu, decode, scored = (
        statistics.median(column) for column in zip(*measured, strict=True)
    )
    return {
        "profile": name,
        "bytes saved": f"{saved:.0%}",
        "ms/MP": f"{cpu:.1f}",
        "decode ms/MP": f"{decode:.1f}",
        "SSIMULACRA2": f"{scored:.1f}",
    }


def measure(recipe, data):
    seconds, developed = timed(lambda: develop(data, sniff(data), LIMITS, recipe))
    decode_seconds, decoded = timed(lambda: examine(data, sniff(data), LIMITS))
    megapixels = decoded.image.width * decoded.image.height / 1e6
    before = upright(decoded.image, decoded.stripped.orientation)
    file = served(developed)
    after = examine(file, sniff(file), LIMITS)
    after = upright(after.image, after.stripped.orientation)
    return (
        1 - len(developed.data) / len(data),
        seconds * 1000 / megapixels,
        decode_seconds * 1000 / megapixels,
        score(before, after, SCORED_SIDE),
    )


def timed(work):
    durations = []
    for _ in range(RUNS):
        started = time.process_time()
        result = work()
        durations.append(time.process_time() - started)
    return statistics.median(durations), result


if __name__ == "__main__":
    main()
