"""The container files, as far as they can be checked without a container engine.

Nothing here builds or starts an image; docs/containers.md says which parts were tried by hand.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from app import __version__, settings
from dev.kafka.jars import kafka_version
from tests.support.authority import Authority
from tests.support.credentials import make_key
from tests.support.gateway_process import GatewayProcess
from tests.support.secured import server_context

ROOT = Path(__file__).parents[1]
SETTINGS = dict(settings.names())
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
GATEWAY, KAFKA = COMPOSE["services"]["gateway"], COMPOSE["services"]["kafka"]


def dockerfile():
    """Return the instructions as pairs of a word and the rest, without comments and line ends."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip()]


def stages():
    """Return the instructions of each stage."""
    found = []
    for word, rest in dockerfile():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


FINAL = stages()[-1]


def last(word):
    return [rest for each, rest in FINAL if each == word][-1]


def environment():
    """Return what ENV sets in the image."""
    pairs = [pair for word, rest in FINAL if word == "ENV" for pair in shlex.split(rest)]
    return dict(pair.split("=", 1) for pair in pairs)


def seconds(duration):
    return int(re.fullmatch(r"(\d+)s", duration)[1])


def load(monkeypatch, variables):
    """Load settings from these variables alone, as the gateway does at its start."""
    for name in list(os.environ):
        if name.upper().startswith(settings.PREFIX):
            monkeypatch.delenv(name)
    for name, value in variables.items():
        if name.startswith(settings.PREFIX):
            monkeypatch.setenv(name, value)
    return settings.load()


class TestBothFiles:
    @pytest.mark.parametrize(
        "name", ["Dockerfile", "docker-compose.yml", ".dockerignore", "docs/containers.md"]
    )
    def test_every_setting_they_name_exists(self, name):
        named = set(re.findall(r"\bIMAGEGATE_[A-Z_]*[A-Z]", (ROOT / name).read_text()))
        assert named <= SETTINGS.keys()

    def test_every_image_of_others_is_named_by_version_and_digest(self):
        aliases = {
            rest.split()[2] for word, rest in dockerfile() if word == "FROM" and " AS " in rest
        }
        images = [rest.split()[0] for word, rest in dockerfile() if word == "FROM"]
        images += [each["image"] for each in COMPOSE["services"].values() if "image" in each]
        foreign = [image for image in images if image not in aliases]
        assert len(foreign) == 2
        for image in foreign:
            assert re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[\w.-]*@sha256:[0-9a-f]{64}", image), image


class TestDockerfile:
    def test_it_is_not_run_by_root_and_says_so_by_number(self):
        user, group = last("USER").split(":")
        assert user.isdecimal()
        assert group.isdecimal()
        assert int(user) > 0
        assert FINAL.index(("USER", last("USER"))) > max(
            index for index, (word, _) in enumerate(FINAL) if word in ("RUN", "COPY")
        )

    def test_the_image_starts_the_gateway_itself_without_a_shell(self, tmp_path):
        program, command, *options = json.loads(last("ENTRYPOINT")) + json.loads(last("CMD"))
        assert (program, command) == ("imagegate", "serve")
        # An address of no interface (RFC 5737): without a key it would not even be tried.
        elsewhere = environment() | {
            "IMAGEGATE_HTTP__HOST": "192.0.2.1",
            "IMAGEGATE_DATA_DIR": tmp_path,
        }
        for is_first, word in ((True, "imagegate keys new"), (False, "192.0.2.1:8080")):
            with GatewayProcess(tmp_path, **elsewhere) as gateway:
                _, output = gateway.refuses(*options)
            assert word in output
            if is_first:
                make_key(tmp_path, "admin")
        assert last("STOPSIGNAL") == "SIGTERM"

    def test_its_settings_are_accepted_and_listen_beyond_the_container(self, monkeypatch):
        loaded = load(monkeypatch, environment())
        assert loaded.http.host == "0.0.0.0"  # noqa: S104
        assert str(loaded.http.port) == last("EXPOSE")
        assert str(loaded.data_dir) == last("VOLUME")

    def test_its_labels_name_the_image_that_it_is_built_on(self):
        name, _, digest = stages()[0][0][1].split()[0].partition("@")
        assert f'base.name="docker.io/library/{name}"' in last("LABEL")
        assert f'base.digest="{digest}"' in last("LABEL")

    def test_only_locked_packages_are_installed(self):
        for word, rest in dockerfile():
            for command in re.split(r"&&", rest) if word == "RUN" else ():
                if re.search(r"\bpip\b.* install ", command):
                    assert "--require-hashes" in command or "--no-index" in command
                assert "apt" not in command.split()

    def test_what_it_copies_exists_and_is_let_through(self):
        ignore = (ROOT / ".dockerignore").read_text().splitlines()
        allowed = [line[1:] for line in ignore if line.startswith("!")]
        assert "*" in ignore
        for word, rest in dockerfile():
            if word == "COPY" and "--from" not in rest:
                for source in rest.split()[:-1]:
                    assert (ROOT / source).exists()
                    assert any(fnmatch(source.rstrip("/"), pattern) for pattern in allowed)

    def test_its_version_is_the_gateways(self):
        assert ("ARG", f"VERSION={__version__}") in FINAL

    @pytest.mark.parametrize("name", ["title", "description", "licenses", "version", "source"])
    def test_it_has_the_labels_of_the_open_container_initiative(self, name):
        assert re.search(rf'\borg\.opencontainers\.image\.{name}="[^"]+"', last("LABEL"))


class TestHealthcheck:
    def test_ready_is_healthy(self):
        with answering(200) as port:
            assert check(port) == 0

    def test_it_asks_by_tls_where_that_is_spoken(self, tmp_path):
        file = Authority(tmp_path / "ca.pem").issue(tmp_path / "cert.pem", "images.example")
        with answering(200, server_context(file)) as port:
            assert check(port, IMAGEGATE_HTTP__TLS_CERT_FILE=str(file)) == 0

    def test_not_ready_is_unhealthy(self):
        with answering(503) as port:
            assert check(port) != 0

    def test_nobody_there_is_unhealthy(self):
        with answering(200) as port:
            pass
        assert check(port) != 0


@contextmanager
def answering(status, tls=None):
    """Answer /health/ready with this status, by TLS if there is a context; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check(port, **variables):
    """Run the image's health check against a port of this machine; return its status."""
    _, command = last("HEALTHCHECK").split("CMD", 1)
    program, *arguments = json.loads(command)
    assert program == "python"
    # A proxy in the environment, as engines put it there, must not be used.
    variables |= {"IMAGEGATE_HTTP__PORT": str(port), "http_proxy": "http://127.0.0.1:1"}
    return subprocess.run(
        [sys.executable, *arguments], env=os.environ | variables, capture_output=True, check=False
    ).returncode


class TestCompose:
    def test_its_settings_are_accepted(self, monkeypatch):
        loaded = load(monkeypatch, environment() | GATEWAY["environment"])
        assert loaded.kafka.bootstrap_servers == "kafka:19092"
        assert loaded.kafka.connect_timeout_seconds < seconds(GATEWAY["stop_grace_period"])

    def test_the_gateway_waits_for_a_healthy_kafka(self):
        assert GATEWAY["depends_on"]["kafka"] == {"condition": "service_healthy"}
        assert KAFKA["healthcheck"]["test"][0] == "CMD"

    def test_the_first_key_is_made_before_the_gateway_starts_and_only_once(self, tmp_path):
        assert GATEWAY["depends_on"]["first-key"] == {"condition": "service_completed_successfully"}
        command = COMPOSE["services"]["first-key"]["command"]
        program = [sys.executable, "-m", "app", *command]
        variables = os.environ | {"IMAGEGATE_DATA_DIR": str(tmp_path)}
        printed = [
            subprocess.run(
                program, env=variables, capture_output=True, text=True, check=True
            ).stdout
            for _ in range(2)
        ]
        assert printed[0].startswith("ig_")
        assert printed[1] == ""

    def test_nothing_is_published_beyond_this_machine(self):
        published = [
            port for each in COMPOSE["services"].values() for port in each.get("ports", ())
        ]
        assert sorted(published) == ["127.0.0.1:8080:8080", "127.0.0.1:9092:9092"]

    def test_every_listener_of_kafka_is_bound_advertised_and_named_right(self):
        properties = KAFKA["environment"]
        bound, advertised = (
            dict(each.split("://") for each in properties[name].split(","))
            for name in ("KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS")
        )
        protocols = dict(
            each.split(":")
            for each in properties["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")
        )
        controller = properties["KAFKA_CONTROLLER_LISTENER_NAMES"]
        assert bound.keys() == protocols.keys() == advertised.keys() | {controller}
        for name, address in advertised.items():
            assert bound[name] == ":" + address.rpartition(":")[2]
        assert properties["KAFKA_CONTROLLER_QUORUM_VOTERS"].partition("@")[2] == bound[controller]
        inside = advertised[properties["KAFKA_INTER_BROKER_LISTENER_NAME"]]
        assert inside == GATEWAY["environment"]["IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS"]
        assert f"--bootstrap-server={inside}" in KAFKA["healthcheck"]["test"]
        assert "{0}:{0}".format(advertised["HOST"].rpartition(":")[2]) in KAFKA["ports"][0]

    def test_kafka_is_the_one_that_the_tests_use(self):
        assert KAFKA["image"].partition("@")[0] == f"apache/kafka:{kafka_version()}"

    def test_kafka_makes_no_topics_by_itself_and_keeps_its_data_in_a_volume(self):
        assert KAFKA["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
        assert f"kafka-data:{KAFKA['environment']['KAFKA_LOG_DIRS']}" in KAFKA["volumes"]

    def test_every_named_volume_is_declared_and_used(self):
        used = [volume for each in COMPOSE["services"].values() for volume in each["volumes"]]
        assert {volume.partition(":")[0] for volume in used} == COMPOSE["volumes"].keys()
        assert f"gateway-data:{last('VOLUME')}" in used

    def test_the_gateway_may_write_to_its_data_and_tmp_only(self):
        assert GATEWAY["read_only"] is True
        assert [each.partition(":")[0] for each in GATEWAY["tmpfs"]] == ["/tmp"]  # noqa: S108

    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_no_service_has_privileges(self, name):
        service = COMPOSE["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}

    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_no_service_can_start_processes_without_end(self, name):
        assert 0 < COMPOSE["services"][name]["pids_limit"] <= 4096

    def test_threads_and_descriptors_suffice_for_a_large_machine(self, monkeypatch):
        workers = load(monkeypatch, GATEWAY["environment"]).imaging.workers
        # docs/containers.md has the formula.
        assert 90 + workers * (1 + 2 * 96) <= GATEWAY["pids_limit"]
        assert GATEWAY["ulimits"]["nofile"] >= 4096

    def test_stopping_gets_more_time_than_the_gateway_needs(self, monkeypatch):
        loaded = load(monkeypatch, GATEWAY["environment"])
        assert seconds(GATEWAY["stop_grace_period"]) >= loaded.http.grace_seconds + 10

    def test_the_workers_at_their_limit_fit_into_the_memory(self, monkeypatch):
        loaded = load(monkeypatch, GATEWAY["environment"])
        limit = int(GATEWAY["mem_limit"].removesuffix("m")) * 2**20
        workers = loaded.imaging.workers * loaded.imaging.memory_bytes
        assert workers + loaded.upload.budget_bytes + loaded.delivery.cache_bytes < limit

    def test_a_web_site_reaches_it_under_no_name_of_its_own(self, monkeypatch):
        loaded = load(monkeypatch, GATEWAY["environment"])
        assert set(loaded.http.hosts) == {"localhost", "*.localhost", "gateway"}

    def test_every_value_for_the_environment_is_text(self):
        for service in COMPOSE["services"].values():
            assert all(isinstance(value, str) for value in service.get("environment", {}).values())
