"""A gateway without its codec: what is left is everything else that an upload costs.

python -c "from bench import no_codec; no_codec.install(); …serve…"
"""

from app.ingest.ingest import Ingest
from tests.support.developing import as_it_came


def install():
    """Have this process's gateway keep every image as it came, and give its workers nothing."""
    Ingest._develop = _keep


async def _keep(ingest, source, upload, image_format):  # noqa: ARG001 - as `Ingest._develop`
    return as_it_came(upload.data, "image/jpeg")
