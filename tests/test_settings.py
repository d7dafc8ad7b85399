"""Settings: from the environment, checked together, documented."""

import json
import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from app import settings
from app.api.authority import is_loopback
from app.errors import ConfigurationError
from app.imaging import extras
from app.main import check_extras
from app.section import PREFIX

DOCUMENT = Path(__file__).parents[1] / "docs/configuration.md"

NO_HOSTS = ["*", "a,", "http://a", "a:80", "a/b", "*.*.a", "a*", "127.0.0.1", "[::1]"]
NO_ISSUERS = [
    {"issuer": "http://login.example", "audience": "imagegate"},
    {"issuer": "https://login.example", "audience": "imagegate", "jwks": "http://login.example/k"},
    {"issuer": "http://127.0.0.1@login.example", "audience": "imagegate"},
    {"issuer": "https://login.example"},
]
NO_ORIGINS = ["*", "null", "app.example", "https://*.a", "https://a/", "https://a b"]


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Start from an environment without settings; returns a function that sets them."""
    for name in list(os.environ):
        if name.upper().startswith(PREFIX):
            monkeypatch.delenv(name)

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return change


class TestEnvironment:
    def test_nothing_has_to_be_set(self):
        loaded = settings.load()
        assert (loaded.http.host, loaded.http.port) == ("127.0.0.1", 8080)
        assert loaded.data_dir == Path("data")
        assert loaded.kafka.bootstrap_servers is None

    def test_names_nest_by_two_underscores_in_any_case(self, environment):
        environment(
            IMAGEGATE_HTTP__PORT=9000,
            imagegate_upload__max_bytes=5000,
            IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS="one:9092,two:9092",
            IMAGEGATE_DATA_DIR="/srv/images",
        )
        loaded = settings.load()
        assert loaded.http.port == 9000
        assert loaded.upload.max_bytes == 5000
        assert loaded.kafka.bootstrap_servers == "one:9092,two:9092"
        assert loaded.data_dir == Path("/srv/images")

    def test_overrides_win_over_the_environment_one_by_one(self, environment):
        environment(IMAGEGATE_HTTP__PORT=9000, IMAGEGATE_HTTP__HOST="::1", IMAGEGATE_DATA_DIR="/a")
        loaded = settings.load(http={"port": 1234}, data_dir=Path("/b"))
        assert (loaded.http.port, loaded.http.host) == (1234, "::1")
        assert loaded.data_dir == Path("/b")

    def test_every_setting_can_be_set_by_its_name(self, environment):
        examples = {
            "IMAGEGATE_ACCESS__READ": "owner",
            "IMAGEGATE_KAFKA__SIGNING_KEYS": "k1:" + "A" * 43 + "=",
            "IMAGEGATE_SEALING__KEYS": "k1:" + "A" * 43 + "=",
            "IMAGEGATE_SEALING__VAULT_URL": "https://vault.example:8200",
            "IMAGEGATE_SEALING__VAULT_NAMESPACE": "team",
            "IMAGEGATE_KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
            "IMAGEGATE_KAFKA__OAUTH_TOKEN_URL": "https://issuer.example/token",
            "IMAGEGATE_KAFKA__AWS_REGION": "eu-central-1",
        }
        for name, field in settings.names():
            default = field.get_default(call_default_factory=True)
            given = ",".join(default) if isinstance(default, tuple) else default
            some = examples.get(name, "broker:9092")
            environment(**{name: some if given is None else given})
            loaded = settings.load()
            path = name.removeprefix(PREFIX).lower().split("__")
            value = loaded
            for part in path:
                value = getattr(value, part)
            shown = value.get_secret_value() if isinstance(value, SecretStr) else value
            shown = str(shown) if isinstance(shown, Path) and default is None else shown
            assert (str(shown) if default is None else shown) == (
                some if default is None else default
            )

    def test_hosts_and_origins_are_kept_as_browsers_spell_them(self, environment):
        environment(
            IMAGEGATE_HTTP__HOSTS="Images.Example., *.LOCALHOST",
            IMAGEGATE_HTTP__CORS_ORIGINS="HTTPS://App.Example:443, http://[0::1]:3000,tauri://a",
        )
        http = settings.load().http
        assert http.hosts == ("images.example", "*.localhost")
        assert http.cors_origins == ("https://app.example", "http://[::1]:3000", "tauri://a")

    def test_settings_never_change(self):
        loaded = settings.load()
        with pytest.raises(ValueError, match="frozen"):
            loaded.http.port = 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "near"),
        [
            ("IMAGEGATE_HTTP__PROT", "IMAGEGATE_HTTP__PORT"),
            ("IMAGEGATE_HTTP_PORT", "IMAGEGATE_HTTP__PORT"),
            ("IMAGEGATE_KAFKA__BOOTSTRAP_SERVER", "IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS"),
            ("imagegate_datadir", "IMAGEGATE_DATA_DIR"),
            ("IMAGEGATE_UPLOADS__MAX_BYTES", "IMAGEGATE_UPLOAD__MAX_BYTES"),
        ],
    )
    def test_an_unknown_name_is_an_error_that_suggests_the_nearest(self, environment, name, near):
        environment(**{name: "1"})
        with pytest.raises(ConfigurationError) as caught:
            settings.load()
        assert caught.value.detail == f"{name} is not a setting. Did you mean {near}?"

    @pytest.mark.parametrize(
        "name", ["IMAGEGATE_COLOUR", "IMAGEGATE_", "IMAGEGATE_1", "IMAGEGATE_LOG__RETENTION_DAYS"]
    )
    def test_nothing_is_suggested_that_is_not_near(self, environment, name):
        environment(**{name: "1"})
        with pytest.raises(ConfigurationError) as caught:
            settings.load()
        assert caught.value.detail == (
            f"{name} is not a setting. docs/configuration.md lists them all."
        )

    @pytest.mark.parametrize("name", ["IMAGEGATE_", "IMAGEGATE_HTTP", "IMAGEGATE_1"])
    def test_an_unknown_name_is_an_error_however_far_off(self, environment, name):
        environment(**{name: "{}"})
        with pytest.raises(ConfigurationError, match="is not a setting"):
            settings.load()

    def test_names_of_others_are_left_alone(self, environment):
        environment(IMAGEGATES="1", HTTP__PORT="2", XIMAGEGATE_HTTP__PORT="3")
        assert settings.load().http.port == 8080

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("IMAGEGATE_HTTP__PORT", "many"),
            ("IMAGEGATE_KAFKA__SIGNING_KEYS", ""),
            ("IMAGEGATE_KAFKA__SIGNING_KEYS", "A" * 43 + "="),
            ("IMAGEGATE_KAFKA__SIGNING_KEYS", "k1:" + "A" * 42 + "=="),
            ("IMAGEGATE_KAFKA__SIGNING_KEYS", "k1:" + "?" * 43 + "="),
            ("IMAGEGATE_KAFKA__SIGNING_KEYS", f"k1:{'A' * 43}=,k1:{'B' * 43}="),
            ("IMAGEGATE_KAFKA__SIGNING_KEYS", f"{'k' * 33}:{'A' * 43}="),
            ("IMAGEGATE_KAFKA__SECURITY_PROTOCOL", "TLS"),
            ("IMAGEGATE_KAFKA__SASL_MECHANISM", "GSSAPI"),
            ("IMAGEGATE_KAFKA__SASL_PASSWORD", ""),
            ("IMAGEGATE_KAFKA__OAUTH_TOKEN_URL", "http://issuer.example/token"),
            ("IMAGEGATE_KAFKA__OAUTH_TOKEN_URL", "http://localhost.example/token"),
            ("IMAGEGATE_KAFKA__OAUTH_TOKEN_URL", "http://127.0.0.1@issuer.example/token"),
            ("IMAGEGATE_KAFKA__AWS_REGION", "eu central"),
            *(("IMAGEGATE_ACCESS__ISSUERS", json.dumps([issuer])) for issuer in NO_ISSUERS),
            ("IMAGEGATE_HTTP__PORT", "65536"),
            ("IMAGEGATE_HTTP__PORT", "-1"),
            ("IMAGEGATE_HTTP__PORT", ""),
            ("IMAGEGATE_HTTP__HOST", ""),
            ("IMAGEGATE_UPLOAD__MAX_BYTES", "0"),
            ("IMAGEGATE_UPLOAD__MAX_BYTES", "20MB"),
            ("IMAGEGATE_IMAGING__DEADLINE_SECONDS", "0"),
            ("IMAGEGATE_IMAGING__DEADLINE_SECONDS", "nan"),
            ("IMAGEGATE_KAFKA__BOOTSTRAP_SERVERS", ""),
            ("IMAGEGATE_KAFKA__TOPIC_PREFIX", "a b"),
            ("IMAGEGATE_LOG_LEVEL", "loud"),
            *(("IMAGEGATE_HTTP__HOSTS", host) for host in NO_HOSTS),
            *(("IMAGEGATE_HTTP__CORS_ORIGINS", origin) for origin in NO_ORIGINS),
            ("IMAGEGATE_HTTP__EMBEDDING", "anyone"),
            ("IMAGEGATE_LIMITS__PRINCIPAL_REQUESTS", "inf"),
            ("IMAGEGATE_LIMITS__ADDRESS_REQUESTS", "1e-320"),
            ("IMAGEGATE_LIMITS__ADDRESS_WORKER_SECONDS", "-1"),
            ("IMAGEGATE_LIMITS__PRINCIPAL_BYTES", f"{10**12}"),
            ("IMAGEGATE_LIMITS__PRINCIPAL_BYTES_STORED", f"{10**15}"),
        ],
    )
    def test_a_value_that_is_not_allowed_is_an_error_that_names_the_variable(
        self, environment, name, value
    ):
        environment(**{name: value})
        with pytest.raises(ConfigurationError) as caught:
            settings.load()
        assert re.match(f"{name}(, entry 1.*)?: ", caught.value.detail)

    def test_every_value_that_is_not_allowed_is_named(self, environment):
        environment(IMAGEGATE_HTTP__PORT="x", IMAGEGATE_LOG_LEVEL="y")
        with pytest.raises(ConfigurationError) as caught:
            settings.load(kafka={"partitions": 0})
        for name in ("HTTP__PORT", "LOG_LEVEL", "KAFKA__PARTITIONS"):
            assert f"IMAGEGATE_{name}: " in caught.value.detail

    def test_an_unknown_override_is_an_error(self):
        with pytest.raises(ConfigurationError, match="IMAGEGATE_HTTP__PROT: "):
            settings.load(http={"prot": 1})


class TestDocument:
    def test_it_lists_exactly_the_settings_in_their_order(self):
        table = re.findall(r"^\| `([^`]+)` \|", DOCUMENT.read_text("utf-8"), re.MULTILINE)
        assert table == [name for name, _ in settings.names()]
        assert len(table) > 20

    def test_it_has_every_default_and_description(self):
        rows = DOCUMENT.read_text("utf-8").splitlines()
        for name, field in settings.names():
            [row] = [row for row in rows if row.startswith(f"| `{name}` |")]
            assert field.description in row
            if field.default_factory is None and field.default not in (None, "", ()):
                default = field.default
                shown = ",".join(default) if isinstance(default, tuple) else default
                assert f"| `{shown}` |" in row


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost"])
def test_loopback_is_this_machine_alone(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",  # noqa: S104 - it has to be refused
        "::",
        "192.168.1.5",
        "8.8.8.8",
        "example.org",
        "localhost.evil.org",
        "1",
    ],
)
def test_any_other_host_is_not(host):
    assert not is_loopback(host)


class TestProxies:
    def test_are_addresses_and_networks(self, monkeypatch):
        monkeypatch.setenv("IMAGEGATE_HTTP__PROXIES", "127.0.0.1, 10.1.0.0/16,::1")
        assert settings.load().http.proxies == ("127.0.0.1/32", "10.1.0.0/16", "::1/128")

    @pytest.mark.parametrize("given", ["*", "proxy.example", "10.1.2.3/16", "127.0.0.1,"])
    def test_anything_else_is_refused(self, monkeypatch, given):
        monkeypatch.setenv("IMAGEGATE_HTTP__PROXIES", given)
        with pytest.raises(ConfigurationError, match="neither an IP address nor a network"):
            settings.load()


class TestProfiles:
    def test_the_default_has_to_be_among_those_that_are_allowed(self, monkeypatch):
        monkeypatch.setenv("IMAGEGATE_IMAGING__PROFILES", "original,archive")
        with pytest.raises(ConfigurationError, match=r"'balanced'.*set IMAGEGATE_IMAGING__PROFILE"):
            settings.load()
        monkeypatch.setenv("IMAGEGATE_IMAGING__PROFILE", "archive")
        assert settings.load().imaging.profile == "archive"

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("PROFILES", "original,tiny", "'tiny' is not allowed; allowed: original, archive"),
            ("PROFILES", "", "'' is not allowed"),
            ("METADATA", "none", "'none' is not allowed; allowed: strip, strip-gps, keep"),
        ],
    )
    def test_a_name_that_is_unknown_is_named_with_those_that_are_known(
        self, monkeypatch, name, value, said
    ):
        monkeypatch.setenv(f"IMAGEGATE_IMAGING__{name}", value)
        with pytest.raises(ConfigurationError, match=said):
            settings.load()

    @pytest.mark.parametrize(
        ("section", "extra", "name"),
        [
            ({"measure_quality": True}, "quality", "MEASURE_QUALITY"),
            ({"profile": "archive"}, "archive", "PROFILE"),
        ],
    )
    def test_a_setting_that_needs_a_missing_extra_is_refused(
        self, monkeypatch, section, extra, name
    ):
        monkeypatch.setattr(extras, "is_installed", lambda asked: asked != extra)
        said = rf"IMAGEGATE_IMAGING__{name} needs .*imagegate.{extra}"
        with pytest.raises(ConfigurationError, match=said):
            check_extras(settings.load(imaging=section).imaging)
