"""A certificate authority, and tokens that it could have signed."""

import base64
import datetime as dt
import ipaddress
import json
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)


class Authority:
    """An authority whose certificate is in `file`."""

    def __init__(self, file):
        self.file = file
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = named(f"authority {file.stem}")
        self.certificate = (
            self._builder(self.name, self.key, NOW + DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(signs=True), critical=True)
            .sign(self.key, hashes.SHA256())
        )
        file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, file, name, *, hosts=("127.0.0.1",), until=NOW + DAY):
        """Write a key and a certificate for it into one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(named(name), key, until)
            .add_extension(x509.SubjectAlternativeName([*map(host_name, hosts)]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()),
                critical=False,
            )
            .sign(self.key, hashes.SHA256())
        )
        # Kafka reads keys of this form alone.
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        temporary = file.with_suffix(".new")
        temporary.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
        temporary.replace(file)
        return file

    def _builder(self, subject, key, until):
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - 2 * DAY)
            .not_valid_after(until)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )


def named(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def host_name(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def usage(*, signs):
    names = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(
        **{name: signs and name in ("key_cert_sign", "crl_sign") for name in names}
    )


class Issuer:
    """Signs tokens (RS256); its public key is in `jwks`, a file."""

    def __init__(self, jwks):
        self.jwks = jwks
        self.key = rsa.generate_private_key(65_537, 2048)
        numbers = self.key.public_key().public_numbers()
        jwk = {
            "kty": "RSA",
            "kid": "one",
            "alg": "RS256",
            "use": "sig",
            "n": encoded(numbers.n.to_bytes(256, "big")),
            "e": encoded(numbers.e.to_bytes(3, "big")),
        }
        jwks.write_text(json.dumps({"keys": [jwk]}))

    def token(self, subject, *, seconds=300, audience="kafka"):
        now = int(time.time())
        claims = {
            "iss": "https://issuer.example",
            "sub": subject,
            "aud": audience,
            "iat": min(now, now + seconds - 1),
            "exp": now + seconds,
        }
        parts = [{"alg": "RS256", "kid": "one", "typ": "JWT"}, claims]
        signed = ".".join(encoded(json.dumps(part).encode()) for part in parts)
        signature = self.key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{encoded(signature)}"


def encoded(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
