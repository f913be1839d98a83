"""A TLS certificate that can be renewed while it is served."""

import contextlib
import os
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from qsticky.web.certificate import Certificate
from tests import certificates
from tests.serving import SOON, Pair, Reply, Site, received
from tests.unit.web.conftest import Serve, hello


def served_serial(site: Site) -> int:
    """The serial number of the certificate that a new connection is shown."""
    shown = ssl.get_server_certificate((str(site.address), site.port), timeout=SOON)
    return x509.load_pem_x509_certificate(shown.encode()).serial_number


class TestTls:
    """A certificate that can be renewed while it runs."""

    def test_it_is_served_by_its_name(self, serve: Serve, pair: Pair) -> None:
        reply = serve(hello, pair=pair).ask("GET", "/")
        assert (reply.status, reply.text) == (200, "hello\n")

    def test_a_renewed_pair_counts_from_the_next_connection_on(
        self, serve: Serve, pair: Pair
    ) -> None:
        site = serve(hello, pair=pair)
        first = served_serial(site)
        assert first == pair.serial()
        with site.connect() as early:
            pair.write(*certificates.make())
            assert served_serial(site) == pair.serial() != first
            early.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert Reply.parse(received(early)).status == 200

    def test_a_half_renewed_pair_keeps_the_old_and_is_told_once(
        self, serve: Serve, pair: Pair, warnings: list[str]
    ) -> None:
        site = serve(hello, pair=pair)
        first = served_serial(site)
        certificate, key = certificates.make()
        pair.write(certificate, None)
        assert [served_serial(site) for _ in range(3)] == [first] * 3
        warnings.append("The renewed TLS certificate is not used")
        pair.write(None, key)
        assert served_serial(site) == pair.serial() != first

    @pytest.mark.parametrize("half", ["certificate", "key"])
    def test_a_missing_half_keeps_the_old_and_is_told_once(
        self, serve: Serve, pair: Pair, warnings: list[str], half: str
    ) -> None:
        site = serve(hello, pair=pair)
        first = served_serial(site)
        content = (pair.certificate.read_bytes(), pair.key.read_bytes())
        getattr(pair, half).unlink()
        assert [served_serial(site) for _ in range(3)] == [first] * 3
        warnings.append("The renewed TLS certificate is not used")
        pair.write(*content)
        assert served_serial(site) == first
        pair.write(*certificates.make())
        assert served_serial(site) == pair.serial() != first

    def test_a_first_pair_that_is_not_one_cannot_start(self, pair: Pair) -> None:
        pair.write(certificates.make()[0], None)
        with pytest.raises(ssl.SSLError):
            Certificate(pair.certificate, pair.key)
        pair.key.unlink()
        with pytest.raises(FileNotFoundError):
            Certificate(pair.certificate, pair.key)

    def test_plain_http_to_the_tls_port_ends_quietly(self, serve: Serve, pair: Pair) -> None:
        site = serve(hello, pair=pair)
        with site.dial() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"hello" not in received(connection)

    def test_old_protocols_are_not_spoken(self, serve: Serve, pair: Pair) -> None:
        site = serve(hello, pair=pair)
        old = pair.trust()
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.deprecated_call():
            old.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.deprecated_call():
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with site.dial() as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname="localhost")

    @pytest.mark.parametrize("half", ["certificate", "key"])
    def test_a_fifo_holds_up_neither_the_start_nor_a_connection(
        self, serve: Serve, pair: Pair, warnings: list[str], half: str
    ) -> None:
        site = serve(hello, pair=pair)
        path: Path = getattr(pair, half)
        path.unlink()
        os.mkfifo(path)
        assert site.ask("GET", "/").status == 200
        warnings.append(f"The renewed TLS certificate is not used: {path} is not a file")
        with pytest.raises(OSError, match="is not a file"):
            Certificate(pair.certificate, pair.key)

    def test_a_key_with_a_passphrase_asks_nobody(self, pair: Pair) -> None:
        key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
        pair.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"a passphrase"),
            )
        )
        with pytest.raises(OSError, match="give one without a passphrase"):
            Certificate(pair.certificate, pair.key)

    def test_a_renewed_pair_that_could_not_be_read_for_a_moment_is_used_after_all(
        self, serve: Serve, pair: Pair, warnings: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = serve(hello, pair=pair)
        pair.write(*certificates.make())
        with monkeypatch.context() as for_now:

            def load(*_: object, **__: object) -> None:
                raise OSError(24, "Too many open files")

            for_now.setattr(ssl.SSLContext, "load_cert_chain", load)
            assert served_serial(site) != pair.serial()
        warnings.append("Too many open files")
        assert served_serial(site) == pair.serial()
