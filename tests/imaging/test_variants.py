"""Stills: pictures to be shown among others."""

import io

import pytest
from PIL import Image

from app.imaging.limits import ImageLimits
from app.imaging.variants import still
from tests.support import images


def shown(data, max_side=640):
    return Image.open(io.BytesIO(still(data, ImageLimits(), max_side)))


def test_deep_grey_keeps_its_shades():
    picture = Image.new("I;16", (3, 1))
    for x, value in enumerate((0, 32_768, 65_535)):
        picture.putpixel((x, 0), value)
    deep = images.png(picture.resize((96, 32), Image.Resampling.NEAREST), icc=False)
    seen = [shown(deep).convert("L").getpixel((x, 16)) for x in (8, 48, 88)]
    assert seen == pytest.approx([0, 128, 255], abs=4)


def test_transparency_is_white():
    assert shown(images.png(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))).getpixel((4, 4)) == (
        pytest.approx((255, 255, 255), abs=2)
    )


def test_a_profile_of_rgb_is_kept():
    assert shown(images.jpeg()).info["icc_profile"] == images.icc_profile()


@pytest.mark.parametrize(("mode", "space"), [("L", b"GRAY"), ("CMYK", b"CMYK")])
def test_a_profile_of_another_colour_space_is_left_out(mode, space):
    profile = bytearray(images.icc_profile())
    profile[16:20] = space
    data = io.BytesIO()
    Image.new(mode, (16, 16)).save(data, "JPEG", icc_profile=bytes(profile))
    picture = shown(data.getvalue())
    assert picture.mode == "RGB"
    assert "icc_profile" not in picture.info
