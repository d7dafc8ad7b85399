"""A gateway without its codec, to measure everything else that an upload costs.

python -c "from bench import no_codec; no_codec.install(); …serve…"
"""

from app.ingest.ingest import Ingest
from tests.support.developing import as_it_came


def install():
    """Have this process's gateway store every image as it came, without its workers."""
    Ingest._develop = _keep


async def _keep(ingest, source, upload, image_format):  # noqa: ARG001 - as `Ingest._develop`
    return as_it_came(upload.data, "image/jpeg")
