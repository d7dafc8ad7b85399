"""`imagegate keys`: make, list and revoke API keys; count, and move, what sealing keys hold."""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from app.access import api_key, key_file
from app.access.key_file import StoredKey
from app.access.scopes import MEANINGS, Scope
from app.changes.rewrap import Rewrapped, Rewrapper
from app.cli import progress
from app.cli.known import known_log
from app.cli.options import INTERRUPTED, add_data_dir, add_log, load, summary
from app.errors import ConfigurationError
from app.main import keys_file
from app.reader.usage import sealed_by
from app.records.signature import Signatures
from app.sealing.configured import data_keys, key_ids
from app.telemetry import logs

if TYPE_CHECKING:
    from pathlib import Path

    from app.settings import Settings

logger = structlog.get_logger(__name__)

_PERIOD = re.compile(r"([1-9][0-9]{0,5})([hdwy])")
_PERIODS = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
_COUNT = "{:<40}  {:>12}  {}"
_ROW = "{:<11}  {:<7}  {:<20}  {:<20}  {:<24}  {}"


def add(commands: argparse._SubParsersAction[Any]) -> None:
    """Add the command."""
    keys = commands.add_parser("keys", help="make, list and revoke API keys; count sealed images")
    actions = keys.add_subparsers(required=True, metavar="action")
    new = actions.add_parser(
        "new",
        help="make a key, and print it once",
        epilog="Scopes: " + " ".join(f"{scope}: {text}" for scope, text in MEANINGS.items()),
    )
    new.add_argument("--name", required=True, type=_name, help="whom it is for, such as camera-7")
    new.add_argument(
        "--scope",
        required=True,
        action="append",
        choices=[scope.value for scope in Scope],
        help="a right; may be repeated",
    )
    new.add_argument(
        "--expires",
        type=_period,
        metavar="90d",
        help="when it ends: hours h, days d, weeks w, years y",
    )
    new.add_argument("--first", action="store_true", help="make it only if there is no key yet")
    new.set_defaults(run=_new)
    listing = actions.add_parser("list", help="list the keys, without their secrets")
    listing.set_defaults(run=_list)
    revoke = actions.add_parser("revoke", help="end a key at once, for ever")
    revoke.add_argument("id", help="the id, as `list` shows it")
    revoke.set_defaults(run=_revoke)
    usage = actions.add_parser(
        "usage",
        help="count the encrypted images of each sealing key; 1 if one of these keys is not here",
    )
    add_log(usage)
    usage.set_defaults(run=_usage)
    rewrap = actions.add_parser(
        "rewrap",
        help="wrap the keys of images by the newest sealing key; 1 if any could not be",
        description="Wrap the keys of images again, by the sealing key that encrypts now, so that"
        " an older one can be removed: of images that are erased by their keys, which have them in"
        " image-keys. Gateways may run. It may be ended at any time, and run again.",
    )
    add_log(rewrap)
    rewrap.add_argument("--dry-run", action="store_true", help="only say how many that would be")
    rewrap.set_defaults(run=_rewrap)
    for each in (new, listing, revoke):
        add_data_dir(each)
        each.set_defaults(kafka=None)


def _new(options: argparse.Namespace) -> int:
    path, now = _path(options), _now()
    key_id, secret = api_key.new()
    key = StoredKey(
        id=key_id,
        name=options.name,
        scopes=frozenset(map(Scope, options.scope)),
        created_at=now,
        expires_at=now + options.expires if options.expires else None,
        sha256=api_key.digest(secret),
    )
    with key_file.changing(path) as keys:
        if options.first and keys:
            print("There are keys already: see imagegate keys list.", file=sys.stderr)  # noqa: T201
            return 0
        keys.append(key)
    logger.info("key_made", key=key.id, name=key.name, scopes=sorted(key.scopes))
    print(api_key.text_of(key_id, secret))  # noqa: T201
    return 0


def _list(options: argparse.Namespace) -> int:
    now = _now()
    keys = key_file.read(_path(options))
    print(_ROW.format("ID", "STATE", "CREATED", "EXPIRES", "NAME", "SCOPES"))  # noqa: T201
    for key in keys:
        expires = key.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ") if key.expires_at else "never"
        created = key.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        scopes = " ".join(sorted(key.scopes))
        print(_ROW.format(key.id, key.state(now), created, expires, key.name, scopes))  # noqa: T201
    return 0


def _revoke(options: argparse.Namespace) -> int:
    now = _now()
    with key_file.changing(_path(options)) as keys:
        found = next((number for number, key in enumerate(keys) if key.id == options.id), None)
        if found is None:
            raise ConfigurationError(
                f"There is no key {options.id[:50]!r}: see imagegate keys list."
            )
        if keys[found].revoked_at is None:
            keys[found] = keys[found].model_copy(update={"revoked_at": now})
    logger.info("key_revoked", key=options.id)
    print(f"{options.id} is revoked.", file=sys.stderr)  # noqa: T201
    return 0


def _usage(options: argparse.Namespace) -> int:
    logs.configure("error")
    settings = load(options)
    counts, here = asyncio.run(sealed_by(settings)), key_ids(settings.sealing)
    print(_COUNT.format("SEALING KEY", "IMAGES", "HERE"))  # noqa: T201
    for kek in sorted({*counts, *here}):
        # Vault tells nobody which versions of a key it still decrypts with.
        is_here = kek in here or kek.rpartition(":")[0] in here
        print(_COUNT.format(kek, f"{counts.get(kek, 0):,}", "yes" if is_here else "no"))  # noqa: T201
    return int(any(kek not in here and kek.rpartition(":")[0] not in here for kek in counts))


def _rewrap(options: argparse.Namespace) -> int:
    logs.configure("warning")
    try:
        counts, beside = asyncio.run(_run_rewrap(load(options), keep=options.dry_run))
    except KeyboardInterrupt:
        return INTERRUPTED
    done = "would be wrapped again" if options.dry_run else "were wrapped again"
    said = summary(
        f"{counts.wrapped:,} keys {done}",
        (counts.newest, "were wrapped by the newest sealing key already"),
        (beside, "images are not erased by their keys, and keep the one beside them"),
        (counts.failed, "could not be wrapped again"),
    )
    print(said)  # noqa: T201
    return int(counts.failed > 0)


async def _run_rewrap(settings: Settings, *, keep: bool) -> tuple[Rewrapped, int]:
    keys, signatures = data_keys(settings.sealing), Signatures(settings.kafka.keys)
    try:
        async with known_log(settings) as (log, view):
            total, beside = await view.catalog.count_keyed()
            rewrapper = Rewrapper(log, view.catalog, view.feed, signatures, keys, keep=keep)
            with progress.shown() as show:
                await rewrapper.run(
                    lambda counts: show(counts.seen, total, f"{counts.wrapped:,} wrapped again")
                )
            return rewrapper.counts, beside
    finally:
        await keys.stop()


def _path(options: argparse.Namespace) -> Path:
    logs.configure("info")
    return keys_file(load(options))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _name(given: str) -> str:
    if not key_file.NAME.fullmatch(given):
        raise argparse.ArgumentTypeError("up to 64 letters, digits, and . _ @ -")
    return given


def _period(given: str) -> timedelta:
    found = _PERIOD.fullmatch(given)
    if not found:
        raise argparse.ArgumentTypeError("a number and a unit, such as 12h, 90d, 8w or 1y")
    period = int(found[1]) * _PERIODS[found[2]]
    try:
        _now() + period
    except OverflowError as error:
        raise argparse.ArgumentTypeError("too long") from error
    return period
