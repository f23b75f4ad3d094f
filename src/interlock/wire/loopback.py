"""Where plain TCP may go: to this machine only."""

import asyncio
import errno
import ipaddress
import socket


class PlainRefused(Exception):
    """Without TLS only a loopback address is allowed; give certificates, or a loopback address."""


async def addresses(host: str, port: int, *, encrypted: bool) -> list[str]:
    """The addresses of a host, numeric, in the resolver's order.

    Raises PlainRefused when the connection is not encrypted and any of them is not loopback; OSError when the
    name does not resolve.
    """
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host or "0.0.0.0", port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long is not even asked about
        raise OSError(errno.EINVAL, f"{host!r} is no name of a host") from error
    numeric = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    if not encrypted:
        for address in numeric:
            if not ipaddress.ip_address(address.partition("%")[0]).is_loopback:
                raise PlainRefused(
                    f"{host!r} is {address}; plain TCP is for loopback only; use TLS or a loopback address"
                )
    return numeric
