"""TLS contexts for both sides: mutual, version 1.2 or later, from a folder that the authority issued."""

import ssl
from pathlib import Path


class CertificatesUnusable(Exception):
    """A folder's certificate files are missing, damaged or do not belong together; issue them again."""


def server_context(folder: Path) -> ssl.SSLContext:
    """A host's side: shows its certificate, and asks every client for one of the same authority.

    Raises CertificatesUnusable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # a resumed session would skip looking at the certificate again
    return _load(context, folder)


def client_context(folder: Path) -> ssl.SSLContext:
    """The coordinator's side: shows its certificate, and checks the host's against the name in its SAN.

    Raises CertificatesUnusable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False
    return _load(context, folder)


def _load(context: ssl.SSLContext, folder: Path) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_verify_locations(folder / "ca.pem")
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    except OSError as error:  # ssl.SSLError is one
        raise CertificatesUnusable(f"certificates in {folder} cannot be used: {error}; issue them again") from error
    return context
