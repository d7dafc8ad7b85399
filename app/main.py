"""The wiring of the gateway: settings in, an application out.

The lifespan builds the parts in the order in which they need each other, and stops them in reverse,
each within a bound.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI

from app import __version__
from app.access.access import Access
from app.access.keys import Keys
from app.access.link_keys import LinkKeys
from app.access.links import Links
from app.access.principal import ANYONE
from app.access.read_rule import ReadRule
from app.access.settings import KEYS_NAME, LINK_KEYS_NAME
from app.access.tokens import Tokens
from app.api import (
    announced,
    batches,
    context,
    crowd,
    downloads,
    guard,
    health,
    images,
    limiter,
    links,
    pages,
    problems,
    sites,
    streams,
    uploads,
)
from app.api.authority import is_loopback
from app.api.codings import Compression
from app.api.direct import DirectCalls
from app.api.encoded import EncodedImages
from app.api.listing import Listing
from app.api.methods import MethodGuard, Methods
from app.api.openapi.document import document
from app.api.state import State
from app.budget import ByteBudget
from app.catalog.catalog import Catalog
from app.changes.delete import Deleter
from app.changes.sweep import Sweeper
from app.codec.pool import CodecPool
from app.codec.process import Start
from app.codec.settings import Sandbox
from app.data_folder import FolderLock
from app.delivery.cache import RecordCache
from app.delivery.chunks import Chunks
from app.delivery.delivery import Delivery
from app.delivery.digests import ImageDigests
from app.delivery.find import Finder
from app.delivery.held import HeldPictures
from app.delivery.live import LivePictures
from app.delivery.unpack import Unpacker
from app.errors import ConfigurationError
from app.events.trust import Trust
from app.feed.expiry import Expiry
from app.feed.feed import Feed
from app.feed.follow import Follower
from app.feed.pages import Pages
from app.feed.unlocking import Unlocking
from app.imaging import extras
from app.imaging.limits import ImageLimits
from app.imaging.profiles import Profile
from app.ingest.batches import Batches
from app.ingest.claims import Claims
from app.ingest.development import Development
from app.ingest.ingest import Ingest
from app.ingest.intake import COPIES, within
from app.ingest.once import Once
from app.ingest.publish import Publisher
from app.ingest.quota import Quota
from app.ingest.repeats import Repeats
from app.limits import limits
from app.limits.meters import Meters, WorkerTime
from app.log import IMAGES
from app.log.sqlite.database import DATABASE_NAME
from app.log.sqlite.log import SqliteLog
from app.records.image_keys import ImageKeys
from app.records.signature import Signatures
from app.records.value import ValueEncoding
from app.sealing.configured import data_keys
from app.section import variable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from pathlib import Path

    from starlette.types import Scope

    from app.codec.settings import CodecSettings
    from app.imaging.settings import ImagingSettings
    from app.limits.limits import Limits
    from app.limits.settings import LimitSettings
    from app.log import ExaminableLog
    from app.log.findings import Finding
    from app.log.kafka.settings import KafkaSettings
    from app.sealing.data_keys import DataKeys
    from app.settings import Settings

logger: structlog.stdlib.BoundLogger = structlog.get_logger()

DESCRIPTION = """\
imagegate accepts images over HTTP, validates and compresses them, stores them in Apache Kafka and
streams them back out: one image by its id, or every image as it arrives. Every error is
`application/problem+json` (RFC 9457) with a stable `code`.
"""


def create_app(settings: Settings, *, insecure: bool = False) -> FastAPI:
    """Build the application; its parts start with its lifespan.

    Args:
        settings: All of them.
        insecure: Whether clients need no credential on an address that other machines can reach.

    Raises:
        ConfigurationError: The keys cannot be read.
    """
    access = build_access(settings, insecure=insecure)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with running(settings, ReadRule(settings.access, access)) as app.state.gateway:
            yield

    app = FastAPI(
        title="imagegate",
        version=__version__,
        summary="Images in over HTTP, stored in Apache Kafka, streamed back out.",
        description=DESCRIPTION,
        lifespan=lifespan,
        # A redirect would lead to the host that the Host header names.
        redirect_slashes=False,
        default_response_class=problems.JsonLine,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        openapi_tags=[
            {"name": "images", "description": "Upload, download, list, describe, delete."},
            {"name": "links", "description": "Credentials in an address, for one operation."},
            {"name": "streams", "description": "Events of images, and their pictures, live."},
            {"name": "health", "description": "Probes."},
        ],
    )
    for part in (uploads, batches, announced, downloads, images, links, streams, health, pages):
        app.include_router(part.router)
    http = settings.http
    hosts = http.hosts or (sites.LOOPBACK_NAMES if is_loopback(http.host) else ())
    # The last one is the outermost.
    app.add_middleware(Compression)
    app.add_middleware(DirectCalls, api=app)
    _add_limits(app, limits.of_principals, limiter.principal_of, settings, access)
    app.add_middleware(guard.AccessGuard, access=access, api=app)
    app.add_middleware(MethodGuard, methods=Methods(app.routes))
    _add_limits(app, limits.of_addresses, limiter.address_of, settings, access)
    app.add_middleware(crowd.CrowdGuard, client_limit=http.client_connections)
    app.add_middleware(sites.SiteGuard, hosts=hosts, origins=http.cors_origins)
    app.add_middleware(context.RequestContext, linger_seconds=http.linger_seconds)
    app.add_middleware(sites.CrossOriginHeaders, origins=http.cors_origins)
    problems.install(app)
    app.state.access = access
    app.state.description = pages.Description(lambda: document(app))
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # FastAPI's own way
    return app


def _add_limits(
    app: FastAPI,
    limits_of: Callable[[LimitSettings], Limits],
    client_of: Callable[[Scope], str],
    settings: Settings,
    access: Access,
) -> None:
    exposed = not is_loopback(settings.http.host)
    app.add_middleware(
        limiter.LimitGuard,
        meters=Meters(limits_of(settings.limits)),
        given=Meters(limits_of(settings.limits.given)),
        is_on=lambda: exposed or access.is_on,
        client=client_of,
        max_body_bytes=settings.upload.max_bytes,
    )


@asynccontextmanager
async def running(settings: Settings, rule: ReadRule) -> AsyncGenerator[State, None]:
    """Start the parts of a gateway and stop them in reverse order.

    Args:
        settings: All of them.
        rule: Who may read which image.

    Raises:
        ConfigurationError: A part cannot start with these settings.
    """
    check_extras(settings.imaging)
    async with AsyncExitStack() as stack:
        keys = data_keys(settings.sealing)
        stack.push_async_callback(keys.stop)
        shreds = is_shredding(settings, keys)
        if settings.kafka.bootstrap_servers is not None:
            # The embedded log locks its folder itself; on Kafka it holds the catalog alone.
            stack.enter_context(FolderLock(settings.data_dir))
        log = build_log(settings)
        await log.start()
        stack.push_async_callback(log.stop)
        trust = Trust(Signatures(settings.kafka.keys))
        catalog = Catalog(settings.data_dir / "catalog.db", trust.signatures.fingerprint)
        feed, expiry = Feed(log), Expiry(log, catalog)
        image_keys = ImageKeys(log, keys)
        follower = Follower(log, catalog, feed, expiry, trust, image_keys)
        stack.push_async_callback(catalog.close)
        await follower.start()
        stack.push_async_callback(follower.stop)
        expiry.start()
        stack.push_async_callback(expiry.stop)
        unlocking = Unlocking(log, catalog, trust, image_keys)
        unlocking.start()
        stack.push_async_callback(unlocking.stop)
        pool = build_pool(settings.imaging, measure_quality=settings.imaging.measure_quality)
        await stack.enter_async_context(pool)
        image_limits = build_limits(settings.imaging)
        upload = settings.upload
        encoding = value_encoding(settings)
        memory = within(upload.budget_bytes, encoding, sealed=keys.seals)
        budget = ByteBudget(memory, upload.patience_seconds, COPIES * upload.max_bytes)
        claims, once = Claims(catalog, feed), Once(log, catalog, feed, image_keys)
        publisher = Publisher(log, claims, once, trust.signatures, encoding, keys, shreds=shreds)
        stack.push_async_callback(publisher.drain)
        development = Development(pool, image_limits, settings.imaging.packing_seconds)
        cache = RecordCache(log, IMAGES, settings.delivery.cache_bytes)
        finder = Finder(log, cache, catalog, feed, expiry, rule, trust, image_keys)
        ingest = Ingest(
            publisher,
            catalog,
            feed,
            development,
            budget,
            claims,
            once,
            _quota(settings.limits, catalog),
            Repeats(catalog, feed, partial(finder.find, reader=ANYONE)),
        )
        chunks = Chunks(cache)
        unpacking = ByteBudget(settings.delivery.unpack_bytes, settings.upload.patience_seconds)
        delivery = Delivery(finder, chunks, Unpacker(chunks, pool, unpacking))
        deleter = Deleter(log, finder, catalog, feed, trust.signatures)
        sweeper = Sweeper(log, catalog, feed, trust.signatures)
        sweeper.start()
        stack.push_async_callback(sweeper.stop)
        held = HeldPictures(settings.delivery.pictures_bytes)
        pictures = LivePictures(finder, delivery, catalog, feed, pool, image_limits, held)
        encoded = EncodedImages(feed)
        yield State(
            connections=settings.http,
            sites=settings.http,
            pace=settings.http,
            upload=settings.upload,
            imaging=settings.imaging,
            rule=rule,
            log=log,
            catalog=catalog,
            feed=feed,
            ingest=ingest,
            batches=Batches(ingest, log.append, budget, settings.imaging.workers),
            finder=finder,
            delivery=delivery,
            digests=ImageDigests(delivery),
            deleter=deleter,
            pictures=pictures,
            encoded=encoded,
            listing=Listing(catalog, encoded),
            pages=Pages(feed, catalog),
        )


def _quota(limits: LimitSettings, catalog: Catalog) -> Quota:
    return Quota(catalog, limits.principal_images, limits.principal_bytes_stored)


def build_access(settings: Settings, *, insecure: bool) -> Access:
    """Return what turns credentials into principals.

    Raises:
        ConfigurationError: The keys cannot be read.
    """
    exposed = not is_loopback(settings.http.host)
    # A secret that is not mounted does not open what it was to close.
    required = exposed or settings.access.keys_file is not None
    named = settings.access.link_keys_file
    link_keys = LinkKeys(named or settings.data_dir / LINK_KEYS_NAME, required=named is not None)
    return Access(
        Keys(keys_file(settings)),
        Tokens(settings.access.issuers),
        Links(link_keys),
        required=required and not insecure,
    )


def keys_file(settings: Settings) -> Path:
    """Return the path of the file of API keys."""
    return settings.access.keys_file or settings.data_dir / KEYS_NAME


def build_log(settings: Settings, *, must_exist: bool = False) -> ExaminableLog:
    """Return the log that the settings name, not started."""
    if settings.kafka.bootstrap_servers:
        # Loaded where there is a Kafka: it takes a tenth of the time to start.
        from app.log.kafka.log import KafkaLog  # noqa: PLC0415

        return KafkaLog(settings.kafka, must_exist=must_exist)
    return SqliteLog(settings.data_dir)


def value_encoding(settings: Settings) -> ValueEncoding:
    """Return the form of the values that are written into the log."""
    # The embedded log is read through the gateway alone: Base64 would be of no use there.
    kafka = settings.kafka
    return ValueEncoding(kafka.value_encoding) if kafka.bootstrap_servers else ValueEncoding.RAW


def is_shredding(settings: Settings, keys: DataKeys) -> bool:
    """Tell whether new images are to be erased by their keys.

    Raises:
        ConfigurationError: They are, and nothing encrypts them.
    """
    # The embedded log erases the bytes themselves.
    if not settings.kafka.bootstrap_servers or settings.kafka.erasure != "shred":
        return False
    if not keys.seals:
        raise ConfigurationError(
            f"{variable('kafka', 'erasure')}=shred erases images by their keys, and nothing"
            f" encrypts them: set {variable('sealing', 'keys')}, {variable('sealing', 'keys_file')}"
            f" or {variable('sealing', 'vault_url')}."
        )
    return True


@asynccontextmanager
async def opened_log(
    settings: Settings, *, must_exist: bool = False
) -> AsyncGenerator[ExaminableLog, None]:
    """Provide the log that the settings name, for a command, and stop it at the end.

    Args:
        settings: Those of the gateway.
        must_exist: Refuse a folder without an embedded log, or a Kafka without the topics, where a
            new log would be made.

    Raises:
        ConfigurationError: The log cannot be opened, or is not there.
    """
    folder = settings.data_dir
    is_embedded = not settings.kafka.bootstrap_servers
    if must_exist and is_embedded and not (folder / DATABASE_NAME).is_file():
        raise ConfigurationError(
            f"There is no embedded log in {folder}: no {DATABASE_NAME}. Name its folder,"
            " --data-dir, or brokers, --kafka."
        )
    log = build_log(settings, must_exist=must_exist)
    await log.start()
    try:
        yield log
    finally:
        await log.stop()


async def examine_topics(kafka: KafkaSettings, *, create: bool) -> list[Finding]:
    """Examine the topics, after creating missing ones if `create` says so.

    Raises:
        ConfigurationError: The embedded log has no topics, or no broker answers.
    """
    if not kafka.bootstrap_servers:
        raise ConfigurationError(
            "The embedded log has no topics: set IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS or use --kafka."
        )
    from app.log.kafka import checkup  # noqa: PLC0415 - as above

    return await checkup.examine_topics(kafka, create=create)


def build_pool(codec: CodecSettings, *, measure_quality: bool) -> CodecPool:
    """Return the pool of codec workers that the settings describe, not started."""
    start = Start(
        memory_bytes=codec.memory_bytes,
        measure_quality=measure_quality,
        confined=codec.sandbox is not Sandbox.OFF,
    )
    return CodecPool(
        workers=codec.workers,
        deadline_seconds=codec.deadline_seconds,
        start=start,
        queue_seconds=codec.queue_seconds,
        required=codec.sandbox is Sandbox.REQUIRED,
        allowance=WorkerTime(),
    )


def build_limits(imaging: ImagingSettings) -> ImageLimits:
    """Return the limits of one image."""
    return ImageLimits(
        max_pixels=imaging.max_pixels,
        max_side=imaging.max_side,
        max_frames=imaging.max_frames,
        max_metadata_bytes=imaging.max_metadata_bytes,
    )


def check_extras(imaging: ImagingSettings) -> None:
    """Log which extras are not installed.

    Raises:
        ConfigurationError: The settings need one of them.
    """
    wanted = {
        "archive": ("profile", imaging.profile is Profile.ARCHIVE),
        "quality": ("measure_quality", imaging.measure_quality),
    }
    for extra, (setting, is_wanted) in wanted.items():
        if is_wanted and not extras.is_installed(extra):
            raise ConfigurationError(
                f"{variable('imaging', setting)} needs an extra that is not installed: pip install"
                f" 'imagegate[{extra}]'."
            )
    if lacking := [extra for extra in extras.missing() if extra != "quality"]:
        logger.warning("extras_missing", extras=lacking)
