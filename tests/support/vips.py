"""libvips by its C functions, in a process of its own: `other_decoder` starts it.

Beside the codecs of Pillow it would not be independent: both bring a libheif, and C++ binds some
of their symbols across libraries, however they are loaded. pillow-heif then ended the process.
A program for each picture would take twice as long as the 8 ms here.

Sources: libvips 8.14, `vips_thumbnail_buffer` and `vips_pngsave_buffer`.
"""

import ctypes
import pickle
import sys
from ctypes.util import find_library

NAME = find_library("vips")

_NUMBER, _POINTER, _SIZE = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
# No side is scaled up; anything that is damaged is an error.
_LARGEST, _DOWN, _FAIL_ON_ERROR = 10_000_000, 2, 2
_ALL_FRAMES = b"n=-1"
_ANIMATED = (b"GIF8", b"RIFF")
_FACTS = ("n-pages", "delay", "loop")


class RefusedError(Exception):
    """The decoder does not take the file, or finds it damaged."""


class Vips:
    """The library."""

    def __init__(self):
        self._vips = vips = ctypes.CDLL(NAME)
        vips.vips_init.argtypes = [ctypes.c_char_p]
        # Only those arguments are named that come before the variable ones.
        vips.vips_thumbnail_buffer.argtypes = [ctypes.c_char_p, _SIZE, _POINTER, _NUMBER]
        vips.vips_pngsave_buffer.argtypes = [_POINTER] * 3
        vips.vips_image_get_typeof.argtypes = [_POINTER, ctypes.c_char_p]
        vips.vips_image_get_typeof.restype = _SIZE
        vips.vips_image_get_as_string.argtypes = [_POINTER, ctypes.c_char_p, _POINTER]
        vips.vips_error_buffer.restype = ctypes.c_char_p
        vips.g_object_unref.argtypes = vips.g_free.argtypes = [_POINTER]
        if vips.vips_init(b"tests"):
            raise RuntimeError(vips.vips_error_buffer().decode())
        vips.vips_concurrency_set(1)
        # Its cache knows pictures by the address of their bytes.
        vips.vips_cache_set_max(0)

    def decode(self, data, *, in_srgb):
        """Return a PNG of all frames, upright and below each other, and facts of the animation."""
        frames = _ALL_FRAMES if data[:4] in _ANIMATED else b""
        image, packed, length = _POINTER(), _POINTER(), _SIZE()
        options = (b"height", _NUMBER(_LARGEST), b"size", _NUMBER(_DOWN), b"option_string", frames)
        options += (b"fail_on", _NUMBER(_FAIL_ON_ERROR))
        options += (b"export_profile", b"srgb") if in_srgb else ()
        self._check(
            self._vips.vips_thumbnail_buffer(
                data, len(data), ctypes.byref(image), _LARGEST, *options, None
            )
        )
        try:
            bits = (b"bitdepth", _NUMBER(8), b"compression", _NUMBER(0), None)
            places = ctypes.byref(packed), ctypes.byref(length)
            self._check(self._vips.vips_pngsave_buffer(image, *places, *bits))
            facts = {name: value for name in _FACTS if (value := self._fact(image, name))}
        finally:
            self._vips.g_object_unref(image)
        png = ctypes.string_at(packed, length.value)
        self._vips.g_free(packed)
        return png, {} if facts.get("n-pages", "1") == "1" else facts

    def _check(self, status):
        if status:
            message = self._vips.vips_error_buffer().decode(errors="replace").strip()
            self._vips.vips_error_clear()
            raise RefusedError(message)

    def _fact(self, image, name):
        if not self._vips.vips_image_get_typeof(image, name.encode()):
            return ""
        text = _POINTER()
        self._check(self._vips.vips_image_get_as_string(image, name.encode(), ctypes.byref(text)))
        value = ctypes.string_at(text).decode()
        self._vips.g_free(text)
        return value


def main():
    """Answer requests on standard input until it ends."""
    vips = Vips()
    while True:
        try:
            data, in_srgb = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the tests
        except EOFError:
            return
        try:
            answer = vips.decode(data, in_srgb=in_srgb)
        except RefusedError as error:
            answer = str(error)
        pickle.dump(answer, sys.stdout.buffer)
        sys.stdout.flush()


if __name__ == "__main__":
    main()
