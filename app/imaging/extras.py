"""What can be left out of an installation: the extras of `pyproject.toml`."""

from __future__ import annotations

from importlib.util import find_spec

_MODULES = {
    "heic": ["pillow_heif"],
    "codecs": ["pyjpegli", "mozjpeg_lossless_optimization", "oxipng"],
    "archive": ["lepton_jpeg_python"],
    "quality": ["ssimulacra2"],
}


def is_installed(extra: str) -> bool:
    """Tell whether all that an extra brings is there."""
    return all(find_spec(name) for name in _MODULES[extra])


def missing() -> list[str]:
    """Name the extras that are not installed."""
    return [extra for extra in _MODULES if not is_installed(extra)]
