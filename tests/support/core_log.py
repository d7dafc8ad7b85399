"""A log without any of the opt-in protocols."""

from types import SimpleNamespace

from app.log import Log


def core_of(log):
    """Return a log that has the members of `Log` alone, and shares them with `log`."""
    members = (name for name in vars(Log) if not name.startswith("_"))
    return SimpleNamespace(**{name: getattr(log, name) for name in members})
