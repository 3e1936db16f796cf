"""The listening socket: takes a host and a port, returns a socket, before anything slow is loaded."""

import errno
import socket

from sayso.base.errors import UserError

HIGHEST_PORT = 65_535


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `UserError` for a port in use or an address of another machine."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, OverflowError) as error:
        raise UserError(
            f"Cannot resolve '{host}' port {port} to listen on; use --host 127.0.0.1 for this machine."
        ) from error
    listening = socket.socket(family, kind, protocol)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # reuse the port of a server that just stopped
    try:
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"Port {port} on {host} is in use by another program; stop it, or choose another port, "
                f"such as --port {port - 1 if port == HIGHEST_PORT else port + 1}."
            ) from error
        raise UserError(
            f"Cannot listen on {host} port {port}: {error.strerror}; choose another --host or --port."
        ) from error
    return listening
