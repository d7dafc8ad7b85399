"""The extras of `pyproject.toml`, which an installation may leave out."""

from __future__ import annotations

from importlib.util import find_spec

_MODULES = {
    "heic": ["pillow_heif"],
    "codecs": ["pyjpegli", "mozjpeg_lossless_optimization", "oxipng"],
    "archive": ["lepton_jpeg_python"],
    "quality": ["ssimulacra2"],
}


def is_installed(extra: str) -> bool:
    """Tell whether all packages of an extra are installed."""
    return all(find_spec(name) for name in _MODULES[extra])


def missing() -> list[str]:
    """Name the extras that are not installed."""
    return [extra for extra in _MODULES if not is_installed(extra)]
