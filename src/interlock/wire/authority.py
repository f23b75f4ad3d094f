"""Our own certificate authority: EC P-256, one level, certificates for hosts and for the coordinator."""

import contextlib
import datetime
import fcntl
import ipaddress
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: The name in the coordinator's certificate.
COORDINATOR_NAME = "coordinator.interlock"

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_AUTHORITY_DAYS = 20 * 365
_ISSUED_DAYS = 5 * 365
_KEY_USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class AuthorityUnusable(Exception):
    """The authority's files are damaged, do not belong together, or its key can be read by others."""


@dataclass(frozen=True)
class Authority:
    """Issues certificates that its `certificate` vouches for."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def open(cls, folder: Path) -> "Authority":
        """The authority kept in a folder (0700, its key 0600), made there at first use.

        Two processes that open a new one at once get the same. Raises AuthorityUnusable, OSError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            key_file, certificate_file = folder / "ca-key.pem", folder / "ca.pem"
            if not key_file.exists():
                if certificate_file.exists():
                    raise AuthorityUnusable(f"{key_file} is missing beside its certificate; restore it")
                folder.chmod(0o700)
                _write(key_file, _key_pem(ec.generate_private_key(ec.SECP256R1())), mode=0o600)
            key = _load_key(key_file)
            # The key comes first: after a crash in between, the certificate is made for the same key.
            if not certificate_file.exists():
                _write(certificate_file, _certificate_pem(_self_signed(key)), mode=0o644)
            return cls(_load_certificate(certificate_file, key), key)

    def issue_host(self, name: str, addresses: Sequence[str], folder: Path) -> None:
        """Write `ca.pem`, `cert.pem`, `key.pem` for a host: for servers only, name and addresses in its SAN.

        Raises ValueError for a name that is no lower-case DNS name, or an address that is no IP address.
        """
        names: list[x509.GeneralName] = [x509.DNSName(_checked_name(name))]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        self._issue(name, names, ExtendedKeyUsageOID.SERVER_AUTH, folder)

    def issue_coordinator(self, folder: Path) -> None:
        """Write `ca.pem`, `cert.pem`, `key.pem` for the coordinator: for clients only."""
        names = [x509.DNSName(COORDINATOR_NAME)]
        self._issue(COORDINATOR_NAME, names, ExtendedKeyUsageOID.CLIENT_AUTH, folder)

    def _issue(self, name: str, names: Sequence[x509.GeneralName], usage: x509.ObjectIdentifier, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])  # X.509 allows no more
        builder = _builder(subject, self.certificate.subject, key, _ISSUED_DAYS)
        builder = builder.not_valid_after(min(_days_from_now(_ISSUED_DAYS), self.certificate.not_valid_after_utc))
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage("digital_signature"), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(folder):
            _write(folder / "key.pem", _key_pem(key), mode=0o600)
            _write(folder / "cert.pem", _certificate_pem(certificate), mode=0o644)
            _write(folder / "ca.pem", _certificate_pem(self.certificate), mode=0o644)


def _checked_name(name: str) -> str:
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdigit():
        raise ValueError(f"host name {name[:300]!r} is no DNS name in lower case; IP addresses go into addresses")
    return name


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    # Authorities of several clusters must be told apart by people who read a refusal.
    name = f"Interlock authority {secrets.token_hex(4)}"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(subject, subject, key, _AUTHORITY_DAYS)
    return (
        builder.not_valid_after(_days_from_now(_AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_days_from_now(-1))  # hosts' clocks differ
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _key_usage(*used: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{usage: usage in used for usage in _KEY_USAGES})


def _days_from_now(days: int) -> datetime.datetime:
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return now + datetime.timedelta(days=days)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _load_key(file: Path) -> ec.EllipticCurvePrivateKey:
    if file.stat().st_mode & 0o077:
        raise AuthorityUnusable(f"{file} can be read by others; consider the key lost, or set its mode to 0600")
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except ValueError as error:
        raise AuthorityUnusable(f"{file} holds no private key: {error}; restore it") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityUnusable(f"{file} holds a key of another kind than EC; restore it")
    return key


def _load_certificate(file: Path, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
    except ValueError as error:
        raise AuthorityUnusable(f"{file} holds no certificate: {error}; restore it") from error
    if certificate.public_key() != key.public_key():
        raise AuthorityUnusable(f"{file} does not belong to the key beside it; restore both from one backup")
    return certificate


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(file: Path, content: bytes, *, mode: int) -> None:
    # Whole or not at all, also across a power cut. The folder's lock makes the name aside ours alone.
    aside = file.with_name(f".{file.name}.new")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
