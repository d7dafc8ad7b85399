"""One claim in many cases: every case that fails is reported, not only the first."""

from contextlib import contextmanager

import pytest


@contextmanager
def every_case():
    """Yield `case(label)`, a context for each case; at the end, fail with those that failed."""
    failures, count = [], 0

    @contextmanager
    def case(label):
        nonlocal count
        count += 1
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - any is a failure
            failures.append(f"{label}: {type(error).__name__}: {error}")

    yield case
    assert count, "there was no case"
    assert not failures, f"{len(failures)} of {count} cases failed:\n" + "\n".join(failures)
