"""Packers change no pixel, and none of them is believed."""

import pytest

from app.errors import InternalError
from app.imaging.codecs import optimize
from app.imaging.profiles import Profile
from tests.support import images
from tests.support.developing import develop

OTHER = (320, 240)


class TestDistrusted:
    """A packer that returns another picture, as oxipng did with some colour keys."""

    def test_another_jpeg_is_a_mistake_of_ours_and_never_stored(self, monkeypatch):
        other = images.jpeg(images.photo(OTHER, seed=2, noise=0), quality=30, private=False)
        monkeypatch.setattr(optimize, "optimized_jpeg", lambda _: other)
        with pytest.raises(InternalError, match="changed the picture"):
            develop(images.jpeg(images.photo(OTHER)), profile=Profile.LOSSLESS)

    @pytest.mark.parametrize("change", ["pixels", "profile", "transparency", "frames"])
    def test_another_png_too(self, monkeypatch, change):
        picture = images.photo(OTHER, noise=0)
        data = images.png(picture, compress_level=0)
        darker = picture.point([max(value - 1, 0) for value in range(256)] * 3)
        clear = picture.convert("RGBA")
        clear.putalpha(254)
        other = {
            "pixels": lambda: images.png(darker, private=False),
            "profile": lambda: images.png(picture, private=False, icc=False),
            "transparency": lambda: images.png(clear, private=False),
            "frames": lambda: images.saved(picture, "PNG", save_all=True, append_images=[darker]),
        }[change]()
        monkeypatch.setattr(optimize, "optimized_png", lambda *_: other)
        with pytest.raises(InternalError, match="changed the picture"):
            develop(data, profile=Profile.LOSSLESS)


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_same_picture_in_another_mode_is_the_same(orientation):
    grey = images.photo(OTHER, "L").convert("RGB")
    stored = develop(images.png(grey, orientation=orientation, icc=False), profile=Profile.LOSSLESS)
    assert stored.info.codec == "oxipng 2"
    assert stored.data[25] == 0  # grey (W3C PNG 3, 11.2.1)
