"""The table of sieges, in Markdown; `python -m tests.support.siege.table FILE` puts it on its page.

Hides where the page has it: between two comments of `docs/security.md`.
"""

import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs/security.md"
BEGIN, END = "<!-- siege: begin -->", "<!-- siege: end -->"
_HEAD = (
    "| attack | it sends, and needs of a core | uploads stored | upload p95: alone, under attack"
    " | probe p99: alone, under attack | most memory: gateway, a worker | broken |"
)
_LINE = "| --- | --- | --- | --- | --- | --- | --- |"


def _row(name, outcome):
    alone, under, attack = outcome.alone, outcome.under, outcome.attack
    busy = attack["cpu_seconds"] / attack["seconds"]
    stored = under.count("uploads") - sum(under.others("uploads").values())
    cells = [
        name,
        f"{_rate(attack['sent_bytes'] / attack['seconds'])}, {busy:.0%}",
        f"{stored} of {under.count('uploads')}",
        _milliseconds(load.percentile("uploads", 0.95) for load in (alone, under)),
        _milliseconds(load.percentile("probes", 0.99) for load in (alone, under)),
        f"{outcome.gateway_bytes / 1e6:.0f} MB, {outcome.worker_bytes / 1e6:.0f} MB",
        "; ".join(outcome.broken()) or "nothing",
    ]
    return f"| {' | '.join(cells)} |"


def table(rows):
    """Return the table of attacks, each a name and its outcome."""
    return "\n".join([_HEAD, _LINE, *(_row(*each) for each in rows)])


def put_on_page(text, page=PAGE):
    """Replace the table on the page."""
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{text.strip()}\n\n{END}{after}", "utf-8")


def _rate(bytes_a_second):
    if bytes_a_second >= 1_000_000:
        return f"{bytes_a_second / 1e6:.1f} MB/s"
    if bytes_a_second >= 1_000:
        return f"{bytes_a_second / 1e3:.0f} KB/s"
    return f"{bytes_a_second:.0f} B/s"


def _milliseconds(seconds):
    return ", ".join(f"{each * 1000:,.0f} ms" for each in seconds)


if __name__ == "__main__":
    put_on_page(Path(sys.argv[1]).read_text("utf-8"))
