"""The authority: its files, what it issues, and names it refuses."""

import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from interlock.wire.authority import COORDINATOR_NAME, Authority, AuthorityUnusable


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def issued(folder: Path) -> tuple[list[object], list[x509.ObjectIdentifier], bool]:
    """Names in the SAN, usages, and whether it is an authority."""
    extensions = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
    return [name.value for name in names], list(usages), constraints.ca


def test_it_is_made_once_and_then_loaded(tmp_path: Path) -> None:
    made = Authority.open(tmp_path / "ca")
    loaded = Authority.open(tmp_path / "ca")
    assert loaded.certificate == made.certificate
    assert loaded.key.private_numbers() == made.key.private_numbers()
    assert sorted(path.name for path in (tmp_path / "ca").iterdir()) == ["ca-key.pem", "ca.pem"]
    assert (mode(tmp_path / "ca"), mode(tmp_path / "ca" / "ca-key.pem")) == (0o700, 0o600)


def test_after_a_crash_between_key_and_certificate_the_key_is_kept(tmp_path: Path) -> None:
    key = Authority.open(tmp_path).key.private_numbers()
    (tmp_path / "ca.pem").unlink()
    (tmp_path / ".ca.pem.new").write_bytes(b"torn")
    again = Authority.open(tmp_path)
    assert again.key.private_numbers() == key
    assert again.certificate == Authority.open(tmp_path).certificate
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca-key.pem", "ca.pem"]


def test_a_host_is_for_servers_and_has_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "host"
    authority = Authority.open(tmp_path / "ca")
    authority.issue_host("host-1.example.org", ["192.0.2.7", "2001:db8::7"], folder)
    addresses = [ipaddress.ip_address("192.0.2.7"), ipaddress.ip_address("2001:db8::7")]
    assert issued(folder) == (["host-1.example.org", *addresses], [ExtendedKeyUsageOID.SERVER_AUTH], False)
    assert {path.name: mode(path) for path in folder.iterdir()} == {
        "ca.pem": 0o644,
        "cert.pem": 0o644,
        "key.pem": 0o600,
    }
    certificate = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
    certificate.verify_directly_issued_by(authority.certificate)


def test_the_coordinator_is_for_clients(tmp_path: Path) -> None:
    Authority.open(tmp_path / "ca").issue_coordinator(tmp_path / "coordinator")
    assert issued(tmp_path / "coordinator") == ([COORDINATOR_NAME], [ExtendedKeyUsageOID.CLIENT_AUTH], False)


def test_issuing_again_replaces_all(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "ca")
    authority.issue_host("a.test", [], tmp_path / "host")
    before = (tmp_path / "host" / "key.pem").read_bytes()
    authority.issue_host("b.test", [], tmp_path / "host")
    assert issued(tmp_path / "host")[0] == ["b.test"]
    assert (tmp_path / "host" / "key.pem").read_bytes() != before


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "*", "*.test", "-a.test", "a-.test", "a..b", "A.test", "a_b", "ä.test", "10.0.0.1"),
        *("a/b", "../x", "a\0b", "a\n", "x" * 64, ".".join(["x" * 60] * 5)),
    ],
)
def test_a_name_that_is_no_dns_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no DNS name in lower case"):
        Authority.open(tmp_path / "ca").issue_host(name, [], tmp_path / "host")
    assert not (tmp_path / "host").exists()


@pytest.mark.parametrize("address", ["", "host", "1.2.3", "1.2.3.4/8"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        Authority.open(tmp_path / "ca").issue_host("a.test", [address], tmp_path / "host")
    assert not (tmp_path / "host").exists()


def test_an_authority_that_cannot_be_trusted_is_not_used(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one, two):
        Authority.open(folder)
    certificate = (one / "ca.pem").read_bytes()
    (one / "ca.pem").write_bytes((two / "ca.pem").read_bytes())
    with pytest.raises(AuthorityUnusable, match="does not belong to the key beside it"):
        Authority.open(one)
    (one / "ca.pem").write_bytes(b"torn")
    with pytest.raises(AuthorityUnusable, match="holds no certificate"):
        Authority.open(one)
    (one / "ca.pem").write_bytes(certificate)
    (one / "ca-key.pem").chmod(0o640)
    with pytest.raises(AuthorityUnusable, match="can be read by others"):
        Authority.open(one)
    (one / "ca-key.pem").unlink()
    with pytest.raises(AuthorityUnusable, match="is missing beside its certificate"):
        Authority.open(one)
    (two / "ca-key.pem").write_bytes(b"torn")
    with pytest.raises(AuthorityUnusable, match="holds no private key"):
        Authority.open(two)
