"""imagegate: images in over HTTP, stored in Apache Kafka, streamed back out.

The map of the code: the three paths, and the file of each step. `docs/architecture.md` has more.

    in: POST /images                 out: GET /images/{id}            a fact: image-events
    ──────────────────────────────   ──────────────────────────────   ──────────────────────────────
    server/protocol.py       bound   server/protocol.py       bound   log/__init__.py           tail
    api/uploads.py          handle   api/downloads.py        handle   feed/follow.py          follow
    ingest/ingest.py         order   delivery/find.py          find   feed/same_log.py       compare
    budget.py                admit   records/address.py      decode   events/sequenced.py       sort
    api/body.py            receive   catalog/catalog.py    deleted?   events/event.py         decode
    imaging/formats.py       sniff   delivery/cache.py         read   feed/dead_letters.py    reject
    codec/pool.py              run   records/image.py         parse   feed/erasure.py          erase
    imaging/develop.py     develop   api/image_headers.py   headers   catalog/catalog.py       apply
    ingest/publish.py      publish   api/conditions.py        range   feed/feed.py              wake
    records/writer.py        write   delivery/delivery.py      open   feed/expiry.py          expire
    records/seal.py           seal   records/seal.py           open   events/opening.py         open
    events/event.py       announce   delivery/chunks.py         cut   feed/rounds.py            read
    api/schemas.py          answer   delivery/unpack.py      unpack   api/streams.py            send

    with TLS, before that     server/handshake.py, server/certificate.py
    on each request           server/protocol.py, api/context.py, api/sites.py, api/guard.py
    who may do what           access/access.py, access/keys.py, access/links.py, access/read_rule.py
    and how much of it        api/limiter.py, limits/meters.py, ingest/quota.py
    an error on any of them   errors.py, api/problems.py
    a change to an image      changes/delete.py
    without a gateway         reader/reader.py (the public package imagegate/)
    from log to log           transfer/transfer.py
    the start                 cli/serve.py, settings.py, main.py (the only wiring), server/serve.py
    encryption, and its keys  records/seal.py, sealing/data_keys.py, feed/unlocking.py
    what the process reports  telemetry/logs.py, telemetry/metrics.py
"""

__version__ = "0.1.0"
