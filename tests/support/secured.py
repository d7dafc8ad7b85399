"""A real Apache Kafka with TLS, every mechanism of SASL, and access control."""

import ssl
import subprocess

import pytest

from app.section import variable
from dev.kafka.broker import Broker
from dev.kafka.jars import JARS
from dev.kafka.ports import HOST, free_port
from dev.maven import java
from tests.support.authority import DAY, NOW, Authority, Issuer
from tests.support.kafka_fixtures import TEST_JVM_OPTIONS

PASSWORD = "p4ssword of the gateway"  # noqa: S105 - an example
# Of Kafka's StandardAuthorizer: by SCRAM, by PLAIN, by a certificate or by a token.
SUPERS = ("gateway", "rotating", "plain-gateway", "mtls-gateway", "oauth")
# Allowed nothing, until a test says otherwise.
LIMITED = "limited"
SESSION_MS = 1_500
MAP = {
    "INTERNAL": "PLAINTEXT",
    "SASL": "SASL_SSL",
    "MTLS": "SSL",
    "CLEAR": "SASL_PLAINTEXT",
    "SHORT": "SASL_SSL",
    # It advertises a name that its certificate does not have.
    "ODD": "SASL_SSL",
}
MODULES = {
    "plain": f'plain.PlainLoginModule required user_plain-gateway="{PASSWORD}"',
    "scram-sha-256": "scram.ScramLoginModule required",
    "scram-sha-512": "scram.ScramLoginModule required",
    "oauthbearer": "oauthbearer.OAuthBearerLoginModule required",
}


class Secured:
    """A broker with a listener for each way to connect.

    Attributes:
        bootstrap_servers: Of a listener without security, whose clients are allowed everything.
        ca: The file of the authority that brokers and clients are known by.
    """

    def __init__(self, folder):
        self.folder = folder
        self.authority = Authority(folder / "ca.pem")
        self.stranger = Authority(folder / "stranger.pem")
        self.ca = self.authority.file
        self.issuer = Issuer(folder / "jwks.json")
        self.authority.issue(folder / "broker.pem", "broker", hosts=(HOST,))
        self.client_file = self.authority.issue(folder / "client.pem", "mtls-gateway")
        self.expired_file = self.authority.issue(
            folder / "old.pem", "mtls-gateway", until=NOW - DAY
        )
        self.ports = {name: free_port() for name in (*MAP, "CONTROLLER")}
        self.bootstrap_servers = self.address("INTERNAL")
        jwks = f"file://{self.issuer.jwks}"
        allowed = "-Dorg.apache.kafka.sasl.oauthbearer.allowed"
        scram = [
            f"--add-scram={mechanism}=[name={user},password={PASSWORD}]"
            for user in ("gateway", "rotating", LIMITED)
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        ]
        self.broker = Broker(
            folder / "kafka",
            port=self.ports["INTERNAL"],
            controller_port=self.ports["CONTROLLER"],
            properties=self._properties(jwks),
            format_options=("-t", "c2VjdXJlZC1icm9rZXItMQ", "--standalone", *scram),
            jvm_options=(
                *TEST_JVM_OPTIONS,
                f"{allowed}.urls={jwks}",
                f"{allowed}.files={self.issuer.jwks}",
            ),
        )

    def address(self, listener):
        return f"{HOST}:{self.ports[listener]}"

    def settings(self, listener="SASL", **changes):
        """The settings of a log that may connect to a listener, by their names."""
        protocol = MAP[listener]
        given = {"bootstrap_servers": self.address(listener), "security_protocol": protocol}
        if protocol.startswith("SASL"):
            given["sasl_mechanism"] = "SCRAM-SHA-512"
        given |= changes
        if given["security_protocol"].endswith("SSL"):
            given.setdefault("tls_ca_file", self.ca)
        if given.get("sasl_mechanism") in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"):
            is_plain = given["sasl_mechanism"] == "PLAIN"
            given.setdefault("sasl_username", "plain-gateway" if is_plain else "gateway")
            if "sasl_password_file" not in given:
                given.setdefault("sasl_password", PASSWORD)
        return given

    def change_password(self, user, password):
        """Give a user of SCRAM-SHA-512 another password; a new process of Java, two seconds."""
        change = f"SCRAM-SHA-512=[password={password}]"
        self._tool(
            "kafka.admin.ConfigCommand",
            *("--alter", "--add-config", change, "--entity-type", "users", "--entity-name", user),
        )

    def _tool(self, name, *arguments):
        command = [java(), "-XX:TieredStopAtLevel=1", "-cp", f"{JARS.fetch()}/*", name]
        options = ["--bootstrap-server", self.bootstrap_servers, *arguments]
        subprocess.run([*command, *options], check=True, capture_output=True)

    def _properties(self, jwks):
        listeners = ",".join(f"{name}://{self.address(name)}" for name in MAP)
        given = {
            "listeners": f"{listeners},CONTROLLER://{self.address('CONTROLLER')}",
            "advertised.listeners": listeners.replace(
                self.address("ODD"), f"localhost:{self.ports['ODD']}"
            ),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}"
                for name, protocol in [*MAP.items(), ("CONTROLLER", "PLAINTEXT")]
            ),
            "inter.broker.listener.name": "INTERNAL",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker.pem"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca),
            "listener.name.mtls.ssl.client.auth": "required",
            "ssl.principal.mapping.rules": "RULE:^.*CN=([^,]+).*$/$1/,DEFAULT",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN,OAUTHBEARER",
            "listener.name.clear.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.short.connections.max.reauth.ms": str(SESSION_MS),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": ";".join(f"User:{name}" for name in ("ANONYMOUS", *SUPERS)),
        }
        security = "org.apache.kafka.common.security"
        for name in ("sasl", "clear", "short", "odd"):
            for mechanism, module in MODULES.items():
                begin = f"listener.name.{name}.{mechanism}"
                given[f"{begin}.sasl.jaas.config"] = f"{security}.{module};"
            oauth = f"listener.name.{name}.oauthbearer.sasl"
            given |= {
                f"{oauth}.server.callback.handler.class": (
                    f"{security}.oauthbearer.OAuthBearerValidatorCallbackHandler"
                ),
                f"{oauth}.oauthbearer.jwks.endpoint.url": jwks,
                f"{oauth}.oauthbearer.expected.audience": "kafka",
                f"{oauth}.oauthbearer.expected.issuer": "https://issuer.example",
            }
        return given


def environment(settings):
    """Return settings of a log as variables of the environment."""
    return {variable("kafka", name): str(value) for name, value in settings.items()}


def server_context(file):
    """A context of TLS for a server with the key and the certificate in `file`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture(scope="session")
def secured(tmp_path_factory):
    """One secured broker for all tests of a worker."""
    if missing := JARS.missing_tools():
        pytest.skip(f"needs a broker of its own: {', '.join(missing)}")
    made = Secured(tmp_path_factory.mktemp("secured"))
    with made.broker:
        yield made
