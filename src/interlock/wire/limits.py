"""Every bound of the wire, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What one side of a connection accepts, and how long it waits.

    Raises ValueError when a bound is not positive, or the send buffer cannot hold one largest frame, or the calls
    one largest body.
    """

    #: Frames: header lines, bytes of one line without its end, bytes of a body.
    header_count_max: int = 64
    line_bytes_max: int = 8192
    body_bytes_max: int = 1024 * 1024
    #: Frames and heart-beats of one peer: how many are taken at once, and each second after that. One that sends
    #: more is read more slowly; nothing of it is lost or refused.
    frames_burst_max: int = 5000
    frames_per_s_max: float = 5000.0
    #: Bytes written but not yet taken by the peer; beyond them it is a slow reader and is cut.
    send_buffer_bytes_max: int = 4 * 1024 * 1024
    #: JSON: requests in one array, levels of nesting.
    batch_requests_max: int = 64
    json_depth_max: int = 64
    #: Server: connections (those whose calls still run are counted), subscriptions of one connection.
    connections_max: int = 64
    subscriptions_max: int = 64
    #: Server: calls of one connection that run at once, and that wait for their turn.
    calls_running_max: int = 16
    calls_waiting_max: int = 256
    #: Server: bytes of the bodies of one connection's calls that run or wait (read, they take several times as much).
    calls_bytes_max: int = 16 * 1024 * 1024
    #: Client: calls without an answer yet.
    calls_pending_max: int = 1024
    #: Server: how long a new connection may take until its CONNECT (and, before that, for TLS).
    handshake_timeout_s: float = 10.0
    #: How long a close waits for calls, and then for the peer.
    close_timeout_s: float = 5.0
    #: Server: a heart-beat interval other than 0 is raised to this.
    heartbeat_ms_min: int = 1000
    #: Client: the pair it proposes (what it sends, what it wants to receive; 0 = none).
    heartbeat_send_ms: int = 8000
    heartbeat_receive_ms: int = 8000
    #: A peer is cut after this many of its intervals without a byte, or up to a quarter more.
    heartbeat_grace_factor: float = 2.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = 0 if name in ("heartbeat_send_ms", "heartbeat_receive_ms", "calls_waiting_max") else 1e-9
            if value < least:
                raise ValueError(f"wire limit {name} is {value}; give a positive number")
        largest = self.body_bytes_max + self.header_count_max * self.line_bytes_max
        if self.send_buffer_bytes_max < largest:
            raise ValueError(
                f"wire limit send_buffer_bytes_max is {self.send_buffer_bytes_max}, less than one largest "
                f"frame; give at least {largest}"
            )
        if self.calls_bytes_max < self.body_bytes_max:
            raise ValueError(
                f"wire limit calls_bytes_max is {self.calls_bytes_max}, less than one largest body; "
                f"give at least {self.body_bytes_max}"
            )


#: The bounds used where nobody asks for others.
DEFAULT_LIMITS = Limits()
