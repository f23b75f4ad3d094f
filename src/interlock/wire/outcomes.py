"""How calls and connecting can go wrong, split by what is certain."""

import enum
import ssl

from interlock.wire import loopback

#: OpenSSL's verdicts that a certificate is good but names somebody else (host name, e-mail, IP address).
_NAME_MISMATCHES = (62, 63, 64)


class NotSent(Exception):
    """Certain: no byte of the request left this process."""


class Unanswered(Exception):
    """May have been sent; the connection was lost, or the time was up, before the answer: fate unknown."""


class ConnectReason(enum.StrEnum):
    """Why no connection came about."""

    #: The peer's certificate is not of our authority or not for this use, or the peer did not accept ours.
    CERTIFICATE_REFUSED = "certificate refused"
    #: The peer's certificate is good, but not for the name that was asked for.
    WRONG_HOST_NAME = "wrong host name"
    #: Nobody listens there.
    REFUSED = "refused"
    #: No answer in time.
    TIMED_OUT = "timed out"
    #: The name does not resolve, or no way leads there.
    UNREACHABLE = "unreachable"
    #: Somebody answered, but did not accept or speak STOMP 1.2.
    NOT_STOMP = "not accepted"
    #: No TLS was asked for, off loopback.
    PLAIN_REFUSED = "plain TCP refused"


class ConnectFailed(Exception):
    """No connection: `reason` for programs, the message for people. Nothing was called."""

    def __init__(self, target: str, reason: ConnectReason, detail: str) -> None:
        super().__init__(f"cannot connect to {target}: {reason} ({detail})")
        self.reason = reason
        self.detail = detail


class NotAccepted(Exception):
    """The peer answered, but not as a STOMP 1.2 server does."""


class _CertificateRefused(Exception):
    """The peer closed right after it was shown our certificate."""


#: Details of errors that come without words.
_SILENT: dict[type[BaseException], str] = {
    TimeoutError: "no answer in time",
    ConnectionResetError: "the peer broke off; it may not speak TLS, or not accept our certificate",
}


def not_greeted(why: str, loss: Exception | None, *, wordless: bool) -> Exception:
    """What to raise when the connection was lost before CONNECTED; `wordless` = TLS stood, no byte came."""
    # With TLS 1.3 the client's handshake is over before the server judges its certificate; the verdict comes
    # as an alert, or from asyncio's servers as a close without a word. Who closes otherwise says why.
    if isinstance(loss, ssl.SSLError):
        return loss
    if wordless:
        return _CertificateRefused(f"{why} when it was shown our certificate")
    return NotAccepted(f"{why}, before it greeted")


def connect_failed(target: str, error: BaseException) -> ConnectFailed | None:
    """What a failed attempt means, or None for errors that are not the world's."""
    reason = _reason(error)
    if reason is None:
        return None
    words = next((words for kind, words in _SILENT.items() if isinstance(error, kind)), type(error).__name__)
    return ConnectFailed(target, reason, str(error) or words)


def _reason(error: BaseException) -> ConnectReason | None:
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _NAME_MISMATCHES:
        return ConnectReason.WRONG_HOST_NAME
    if isinstance(error, ssl.SSLError):
        told = "CERT" in (error.reason or "") or "UNKNOWN_CA" in (error.reason or "")
        return ConnectReason.CERTIFICATE_REFUSED if told else ConnectReason.NOT_STOMP
    reasons: dict[type[BaseException], ConnectReason] = {
        TimeoutError: ConnectReason.TIMED_OUT,
        ConnectionRefusedError: ConnectReason.REFUSED,
        FileNotFoundError: ConnectReason.REFUSED,
        loopback.PlainRefused: ConnectReason.PLAIN_REFUSED,
        NotAccepted: ConnectReason.NOT_STOMP,
        _CertificateRefused: ConnectReason.CERTIFICATE_REFUSED,
        ConnectionError: ConnectReason.NOT_STOMP,
        OSError: ConnectReason.UNREACHABLE,
        UnicodeError: ConnectReason.UNREACHABLE,  # a name with a label that is empty or too long
    }
    return next((reason for kind, reason in reasons.items() if isinstance(error, kind)), None)
