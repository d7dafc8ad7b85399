"""Each profile over a folder of pictures: bytes saved, CPU time, and likeness.

    .venv/bin/python -m bench.imaging FOLDER

A table for each format in the folder, and for drawings: text and screenshots, made here. Per
picture and profile: the work of a worker next to a bare decode of the same file. CPU milliseconds a
megapixel, the median of three runs, and as a multiple of the decode; SSIMULACRA2 of the served file
against the upload, both in their own colours, of the same size (100: no difference; 90: an
invisible one; 70: high quality). A line is the median over the files; `worst` is over them too.
`small, AVIF` is `small` where the server allows it, `lossless, WebP` where the client accepts it.

At the end it says whether `balanced` keeps its promise, and ends with 1 where it does not.
"""

import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from app.errors import InvalidImageError
from app.imaging.codecs.score import score
from app.imaging.decode import upright
from app.imaging.develop import examine
from app.imaging.formats import sniff
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe
from bench.rounds import show
from bench.samples import drawings
from tests.support.developing import developed_and_packed, served

RUNS = 3
# Of larger pictures only a part is scored, cut from the middle: it takes a second a megapixel.
SCORED_SIDE = 1024
LIMITS = ImageLimits()
RECIPES = {profile.value: Recipe(profile) for profile in Profile} | {
    "lossless, WebP": Recipe(Profile.LOSSLESS, webp=True),
    "small, AVIF": Recipe(Profile.SMALL, avif=True),
}

# What `balanced` promises: likeness of every file, of the median photo, and bytes of what is
# encoded anew.
WORST_SCORE, MEDIAN_SCORE, BYTES = 75, 80, 0.52


@dataclass(frozen=True)
class Measured:
    """What became of one picture under one profile.

    Args:
        kept: Whether the file was not encoded again.
        share: Stored bytes, as a share of the upload.
        cpu: Milliseconds a megapixel.
        decode: The same for a bare decode.
        score: Likeness.
    """

    kept: bool
    share: float
    cpu: float
    decode: float
    score: float


def main():
    files = [path.read_bytes() for path in sorted(Path(sys.argv[1]).iterdir()) if path.is_file()]
    groups = {}
    for name, group in groupby(sorted(files, key=label), key=label):
        groups[name] = list(group)
    for name, group in groupby(sorted(drawings(), key=label), key=label):
        groups[f"{name}, drawn"] = list(group)
    balanced = {}
    for name, samples in groups.items():
        rows = []
        for profile, recipe in RECIPES.items():
            with suppress(InvalidImageError):  # not every profile accepts every format
                measured = [measure(recipe, data) for data in samples]
                rows.append({"profile": profile} | row(measured))
                if profile == Profile.BALANCED.value:
                    balanced[name] = measured
        show(f"{len(samples)} files of {name}, medians", rows)
    sys.exit(0 if promise(balanced) else 1)


def label(data):
    return sniff(data).label


def row(measured):
    def median(name):
        return statistics.median(getattr(each, name) for each in measured)

    return {
        "bytes saved": f"{1 - median('share'):.0%}",
        "ms/MP": f"{median('cpu'):.1f}",
        "decode ms/MP": f"{median('decode'):.1f}",
        "of the decode": f"{statistics.median(each.cpu / each.decode for each in measured):.1f}",
        "worst": f"{max(each.cpu / each.decode for each in measured):.1f}",
        "SSIMULACRA2": f"{median('score'):.1f}",
        "lowest": f"{min(each.score for each in measured):.1f}",
    }


def promise(balanced):
    """Say whether the profile keeps its promise on these files, and return that."""
    everything = [each for measured in balanced.values() for each in measured]
    photos = balanced.get("JPEG", []) + balanced.get("HEIC", [])
    anew = [each.share for each in balanced.get("JPEG", []) if not each.kept]
    found = {
        f"every file at {WORST_SCORE} or more": min(each.score for each in everything)
        >= WORST_SCORE,
        f"photos at {MEDIAN_SCORE} in the median": not photos
        or statistics.median(each.score for each in photos) >= MEDIAN_SCORE,
        f"JPEG encoded anew in {BYTES} of its bytes": not anew or statistics.median(anew) <= BYTES,
    }
    for text, holds in found.items():
        print(f"{'holds' if holds else 'BROKEN'}: {text}")
    return all(found.values())


def measure(recipe, data):
    seconds, developed = timed(lambda: developed_and_packed(data, LIMITS, recipe))
    decode_seconds, decoded = timed(lambda: examine(data, sniff(data), LIMITS))
    megapixels = decoded.image.width * decoded.image.height / 1e6
    before = upright(decoded.image, decoded.stripped.orientation)
    file = served(developed)
    after = examine(file, sniff(file), LIMITS)
    after = upright(after.image, after.stripped.orientation)
    return Measured(
        kept=developed.info.kept,
        share=len(developed.data) / len(data),
        cpu=seconds * 1000 / megapixels,
        decode=decode_seconds * 1000 / megapixels,
        score=score(before, after, SCORED_SIDE),
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
