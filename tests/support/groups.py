"""The account at the end of a run: the tests of each group, on which Kafka, and what was skipped.

A pytest plugin. A group is a folder under tests/ that needs more than this process; all other
folders are the group `core`. With TEST_REQUIRE_KAFKA=1 a run fails in which a test that uses Kafka
did not run on a real one. Hides that tests may run in several workers (pytest-xdist): these collect
them, and the process that prints the account does not.
"""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field

import pytest

from tests.support.kafka_fixtures import PLAN, USERS, Plan

GROUPS = ("core", "contract", "kafka", "process", "faults", "siege", "clients", "browser")


@dataclass(slots=True, eq=False)  # a plugin is hashed
class Account:
    """The worst outcome of each test that reported, by group, and why tests were skipped."""

    outcomes: dict[str, dict[str, str]] = field(
        default_factory=lambda: {group: {} for group in GROUPS}
    )
    skips: dict[str, Counter[str]] = field(
        default_factory=lambda: {group: Counter() for group in GROUPS}
    )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        outcomes = self.outcomes[group_of(report.nodeid)]
        if report.skipped:
            outcomes[report.nodeid] = "skipped"
            self.skips[group_of(report.nodeid)][_reason(report)] += 1
        elif report.failed:
            outcomes[report.nodeid] = "failed"
        elif report.when == "call":
            outcomes[report.nodeid] = "passed"

    def line(self, group: str) -> str:
        counts = Counter(self.outcomes[group].values())
        if not counts:
            return "no test ran"
        return ", ".join(
            f"{counts[outcome]} {outcome}"
            for outcome in ("passed", "failed", "skipped")
            if counts[outcome] or outcome == "passed"
        )


ACCOUNT = pytest.StashKey[Account]()
REFUSAL = pytest.StashKey[str]()


def group_of(nodeid: str) -> str:
    """Name a test's group after a folder of its file."""
    folders = nodeid.partition("::")[0].split("/")[:-1]
    return next((folder for folder in folders if folder in GROUPS), "core")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ACCOUNT] = Account()
    config.pluginmanager.register(config.stash[ACCOUNT])


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config, stash = session.config, session.config.stash
    if hasattr(config, "workeroutput"):
        plan = stash.get(PLAN, None)
        config.workeroutput["kafka"] = plan and asdict(plan), sorted(stash[USERS])
        return
    if os.environ.get("TEST_REQUIRE_KAFKA") != "1" or config.option.collectonly:
        return
    if refusal := _refusal(stash.get(PLAN, None), stash[USERS], stash[ACCOUNT]):
        stash[REFUSAL] = refusal
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Learn from a worker which Kafka it used, and which tests did."""
    # One that crashed has left nothing; the test that it ran counts as failed.
    plan, users = getattr(node, "workeroutput", {}).get("kafka", (None, ()))
    stash = node.config.stash
    stash[USERS] |= set(users)
    if plan is not None and (PLAN not in stash or plan["kind"] == "memory"):
        stash[PLAN] = Plan(**plan)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.option.collectonly:
        return
    terminalreporter.section("Test groups")
    plan, users = config.stash.get(PLAN, None), config.stash[USERS]
    account = config.stash[ACCOUNT]
    for group in GROUPS:
        uses_kafka = not users.isdisjoint(account.outcomes[group])
        on = f" (on {plan.description})" if plan and uses_kafka else ""
        terminalreporter.line(f"{group}: {account.line(group)}{on}")
        for reason, count in account.skips[group].items():
            terminalreporter.line(f"    skipped {count}: {reason}")
    if refusal := config.stash.get(REFUSAL, None):
        terminalreporter.line(f"TEST_REQUIRE_KAFKA=1: {refusal}", red=True)


def _refusal(plan: Plan | None, users: set[str], account: Account) -> str:
    """Say why the run does not count as one on a real Kafka; empty when it does."""
    if plan is None:
        return "no test that uses Kafka was collected"
    if plan.kind == "memory":
        return f"the tests ran without Apache Kafka: {plan.why_not_apache}"
    outcomes = [
        outcome
        for tests in account.outcomes.values()
        for nodeid, outcome in tests.items()
        if nodeid in users
    ]
    if "passed" not in outcomes:
        return "no test that uses Kafka passed"
    skipped = outcomes.count("skipped")
    return f"{skipped} tests that use Kafka were skipped" if skipped else ""


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}"
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")
