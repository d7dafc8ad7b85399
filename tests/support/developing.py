"""`develop` as most tests call it: with usual limits and a usual recipe."""

import hashlib
from dataclasses import replace

from app.imaging import packing
from app.imaging.codecs import lepton
from app.imaging.develop import Developed
from app.imaging.develop import develop as develop_by
from app.imaging.develop import examine as examine_as
from app.imaging.formats import sniff
from app.imaging.info import ImageInfo
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe

LIMITS = ImageLimits()
PACKING_SECONDS = 5


def served(developed: Developed) -> bytes:
    """The file that clients get."""
    if developed.info.content_encoding:
        return lepton.unpack(developed.data, developed.info.content_length, developed.info.digest)
    return developed.data


def as_it_came(data: bytes, content_type: str) -> Developed:
    """The result of a worker that stores an upload as it is, without a look at it."""
    digest = hashlib.sha256(data).hexdigest()
    info = ImageInfo(
        content_type=content_type,
        content_length=len(data),
        digest=digest,
        width=3,
        height=2,
        frame_count=1,
        filename=None,
        profile="original",
        codec="original",
        kept=True,
        received_bytes=len(data),
        received_digest=digest,
        stored_bytes=len(data),
    )
    return Developed(data, info)


def develop(data, limits=LIMITS, profile=Profile.BALANCED, **recipe) -> Developed:
    return developed_and_packed(data, limits, Recipe(profile, **recipe))


def developed_and_packed(
    data: bytes, limits: ImageLimits, recipe: Recipe, seconds=PACKING_SECONDS
) -> Developed:
    """Return what the gateway stores."""
    developed = with_digests(develop_by(data, sniff(data), limits, recipe), data)
    if not packing.can_be_packed(developed.info):
        return developed
    packed = packing.pack(developed.data, developed.info, limits, recipe, seconds)
    if packed is None or packed.info.content_encoding:
        return packed or developed
    return with_digests(packed, data)


def with_digests(developed: Developed, upload: bytes) -> Developed:
    """Add the digests, as the gateway does to what a worker has made of an upload."""
    received, digest = (hashlib.sha256(each).hexdigest() for each in (upload, developed.data))
    return replace(developed, info=replace(developed.info, digest=digest, received_digest=received))


def examine(data, limits=LIMITS):
    return examine_as(data, sniff(data), limits)
