"""Certificates for tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Certificate:
    """A certificate for 127.0.0.1 and its key, as PEM files."""

    chain: Path
    key: Path


def self_signed(folder: Path) -> Certificate:
    """Make a self-signed certificate for 127.0.0.1."""
    pair = Certificate(folder / "chain.pem", folder / "key.pem")
    certificate, key = make()
    pair.chain.write_bytes(certificate)
    pair.key.write_bytes(key)
    return pair


def make(address: str = "127.0.0.1", age: dt.timedelta = dt.timedelta(0)) -> tuple[bytes, bytes]:
    """Make a self-signed certificate for an address and localhost, and its key, both as PEM."""
    issued = Issued(address, age=age)
    return issued.pem, issued.key_pem


class Issued:
    """A certificate for an address and localhost, and its key; without an issuer it is a CA's own.

    Without an address it names none but by its common name. It is this old, and an hour; it is
    valid for a day.
    """

    def __init__(
        self,
        address: str | None = "127.0.0.1",
        *,
        issuer: Issued | None = None,
        age: dt.timedelta = dt.timedelta(0),
    ) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name(
            [x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost" if issuer else "The issuer")]
        )
        signer = issuer or self
        made = dt.datetime.now(dt.UTC) - age - dt.timedelta(hours=1)
        public, signers = self._key.public_key(), signer._key.public_key()
        builder = (
            x509.CertificateBuilder(signer._name, self._name, public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(made)
            .not_valid_after(made + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(issuer is None, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signers), False)
            .add_extension(_usage(signs=issuer is None), True)
        )
        if address:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(address))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        self._certificate = builder.sign(signer._key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """Its key."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def context(self, path: Path) -> ssl.SSLContext:
        """Make a server's context, for which Python wants certificate and key in a file."""
        path.write_bytes(self.pem + self.key_pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context


def _usage(*, signs: bool) -> x509.KeyUsage:
    """What a strict verifier wants said of a key, which may sign certificates or not."""
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
