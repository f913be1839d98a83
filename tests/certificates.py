"""Certificates for tests."""

from __future__ import annotations

import datetime as dt
import ipaddress
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
    """Make a self-signed certificate for an address and localhost, and its key, both as PEM.

    It is this old, and an hour; it is valid for a day.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = dt.datetime.now(dt.UTC) - age - dt.timedelta(hours=1)
    names: list[x509.GeneralName] = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address(address)),
    ]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(made)
        .not_valid_after(made + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
