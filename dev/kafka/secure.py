"""A broker with TLS and a password, for `KAFKA_SECURE=1 make kafka`.

Hides what it needs: a certificate of its own, made by Java's keytool, and a user of SCRAM. They are
made once for a data directory:

    ca.pem          the certificate, for clients
    password        of the user
    keystore.p12    the certificate and its key, for the broker
"""

import os
import secrets
import subprocess
from collections.abc import Mapping
from pathlib import Path

from dev.kafka.broker import BrokerError, new_uuid
from dev.kafka.ports import HOST
from dev.maven import java

USER = "imagegate"
MECHANISM = "SCRAM-SHA-512"
CA, PASSWORD, KEYSTORE = "ca.pem", "password", "keystore.p12"
LISTENER = "SECURE"
_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required"
_TIMEOUT_SECONDS = 60
_DAYS = "3650"


def prepare(data_dir: Path) -> None:
    """Make the password and the certificate, unless they are there.

    Raises:
        BrokerError: Java's keytool is missing, or failed.
    """
    data_dir.chmod(0o700)
    if (data_dir / CA).exists():
        return
    _write_secret(data_dir / PASSWORD, secrets.token_urlsafe(24))
    (data_dir / KEYSTORE).unlink(missing_ok=True)
    names = f"san=ip:{HOST},dns:localhost"
    certificate = ("-keyalg", "EC", "-validity", _DAYS, "-dname", "CN=imagegate", "-ext", names)
    # Newer versions of Python believe no certificate that does not say that it may sign.
    authority = ("-ext", "bc:c=ca:true", "-ext", "ku:c=digitalSignature,keyCertSign")
    _keytool(data_dir, "-genkeypair", *certificate, *authority)
    made = data_dir / f"{CA}.new"
    _keytool(data_dir, "-exportcert", "-rfc", "-file", str(made))
    made.replace(data_dir / CA)


def properties(data_dir: Path, port: int, controller_port: int) -> Mapping[str, str]:
    """Return the broker's options; `data_dir` is prepared."""
    listener = f"{LISTENER}://{HOST}:{port}"
    begin = f"listener.name.{LISTENER.lower()}.{MECHANISM.lower()}"
    return {
        "listeners": f"{listener},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": listener,
        "listener.security.protocol.map": f"{LISTENER}:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": LISTENER,
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        f"{begin}.sasl.jaas.config": (
            f'{_MODULE} username="{USER}" password="{password(data_dir)}";'
        ),
        "ssl.keystore.type": "PKCS12",
        "ssl.keystore.location": str(data_dir / KEYSTORE),
        "ssl.keystore.password": password(data_dir),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(data_dir / CA),
    }


def format_options(data_dir: Path) -> tuple[str, ...]:
    """Return the options that a new data directory is formatted with."""
    user = f"{MECHANISM}=[name={USER},password={password(data_dir)}]"
    return ("-t", new_uuid(), "--standalone", "--add-scram", user)


def settings(data_dir: Path) -> dict[str, str]:
    """Return the settings of a gateway that uses the broker, less its address."""
    return {
        "IMAGEGATE_KAFKA__SECURITY_PROTOCOL": "SASL_SSL",
        "IMAGEGATE_KAFKA__SASL_MECHANISM": MECHANISM,
        "IMAGEGATE_KAFKA__SASL_USERNAME": USER,
        "IMAGEGATE_KAFKA__SASL_PASSWORD_FILE": str(data_dir / PASSWORD),
        "IMAGEGATE_KAFKA__TLS_CA_FILE": str(data_dir / CA),
    }


def password(data_dir: Path) -> str:
    """Return the password of the user, which is that of the keystore too."""
    return (data_dir / PASSWORD).read_text()


def _write_secret(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        stream.write(text)


def _keytool(data_dir: Path, *arguments: str) -> None:
    tool = Path(java()).with_name("keytool") if os.sep in java() else Path("keytool")
    store = ("-keystore", str(data_dir / KEYSTORE), "-storetype", "PKCS12", "-alias", "broker")
    secret = ("-storepass:file", str(data_dir / PASSWORD))
    try:
        subprocess.run(
            [str(tool), *arguments, *store, *secret],
            check=True,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
        )
    except FileNotFoundError as error:
        raise BrokerError("there is no keytool beside java") from error
    except subprocess.CalledProcessError as error:
        raise BrokerError(f"keytool failed: {error.stdout}{error.stderr}") from error
