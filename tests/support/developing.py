"""`develop` as most tests call it: one argument is what the test is about, the rest is usual."""

import hashlib

from app.imaging.codecs import lepton
from app.imaging.develop import Developed
from app.imaging.develop import develop as develop_by
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile, Recipe

LIMITS = ImageLimits()


def served(developed: Developed) -> bytes:
    """The file that clients get."""
    if developed.content_encoding:
        return lepton.unpack(developed.data, developed.content_length, developed.digest)
    return developed.data


def as_it_came(data: bytes, media_type: str) -> Developed:
    """What a worker would say of an image that nothing was done to, without looking at it."""
    digest = hashlib.sha256(data).hexdigest()
    return Developed(
        data=data,
        content_encoding="",
        content_length=len(data),
        digest=digest,
        received_digest=digest,
        media_type=media_type,
        width=3,
        height=2,
        frame_count=1,
        profile="original",
        kept=True,
        codec="original",
        metadata_removed=(),
        quality=None,
    )


def develop(data, limits=LIMITS, profile=Profile.BALANCED, **recipe) -> Developed:
    return develop_by(data, limits, Recipe(profile, **recipe))
