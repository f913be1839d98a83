"""Starts what the contract tests run against: shared where a fact allows, else a fresh one."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.contract.targets import API_KEY, Certificate, Options, Start, Subject, Target


@pytest.fixture(scope="session")
def _shared() -> Iterator[Callable[[Target], Subject]]:
    with ExitStack() as running:
        subjects: dict[Target, Subject] = {}

        def subject(target: Target) -> Subject:
            if target not in subjects:
                subjects[target] = running.enter_context(target.run(Options(api_key=API_KEY)))
            return subjects[target]

        yield subject


@pytest.fixture
def qbittorrent(target: Target, _shared: Callable[[Target], Subject]) -> Iterator[Subject]:
    """A qBittorrent that other tests use too: refuse it no login, and leave it running."""
    subject = _shared(target)
    yield subject
    subject.forget_clients()


@pytest.fixture
def start(target: Target) -> Iterator[Start]:
    """Starts a fresh qBittorrent; takes the fields of Options."""
    with ExitStack() as running:
        yield lambda **options: running.enter_context(target.run(Options(**options)))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A self-signed certificate for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    folder: Path = tmp_path_factory.mktemp("certificate")
    pair = Certificate(folder / "chain.pem", folder / "key.pem")
    pair.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pair.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pair
