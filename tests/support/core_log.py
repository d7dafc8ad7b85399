"""A log without any of the opt-in protocols."""

from types import SimpleNamespace

from app.log import Log, ReadableLog


def core_of(log):
    """Return a log that has the members of `Log` alone, and shares them with `log`."""
    return _with_members(log, ReadableLog, Log)


def readable_of(log):
    """Return a log that can be read alone, and shares that with `log`."""
    return _with_members(log, ReadableLog)


def _with_members(log, *protocols):
    names = (name for each in protocols for name in vars(each) if not name.startswith("_"))
    return SimpleNamespace(**{name: getattr(log, name) for name in names})
