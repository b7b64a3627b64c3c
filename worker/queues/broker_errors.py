"""Explains errors of the Redis client: what happened, and what to do."""

import socket
import ssl
from contextlib import suppress
from urllib.parse import urlsplit

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

PROBE_SECONDS = 2.0
PORT = 6379

# What the client's or the server's message holds, and what to do about it.
ADVICE = (
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate isn't trusted here: name the certificate of its authority in "
        "APPRENTICE_REDIS_CA_FILE, and use the host name that the certificate is for",
    ),
    (
        "CERTIFICATE_REQUIRED",
        "it wants a certificate of ours: add ?ssl_certfile=FILE&ssl_keyfile=FILE to the URL",
    ),
    ("read only replica", "it is a read-only replica: use the primary server's address"),
    ("DB index is out of range", "use a smaller database number at the end of its URL"),
)


def explain(error: RedisError) -> str:
    """Explain an error in one line, with what to do about it where that is known."""
    message = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, NoPermissionError):
        return (
            f"its user may not do what Apprentice needs ({message}): docs/deployment.md lists the "
            "commands and keys"
        )
    if isinstance(error, AuthenticationError):
        return (
            f"it refuses the user or the password ({message}): check the user in "
            "APPRENTICE_REDIS_URL (redis://USER@HOST) and APPRENTICE_REDIS_PASSWORD"
        )
    for sign, advice in ADVICE:
        if sign in message:
            return f"{advice} ({message})"
    return message


def explain_address(url: str, error: RedisError) -> str:
    """Explain an error of a first connection: is TLS used where it isn't spoken, or the reverse?

    A server that hears the wrong one waits or hangs up, so it is asked the other way.
    """
    parts = urlsplit(url)
    if parts.hostname and not isinstance(error, (AuthenticationError, NoPermissionError)):
        place = (parts.hostname, parts.port or PORT)
        if parts.scheme == "rediss" and _speaks_plain(place):
            return f"no TLS is spoken there: use redis:// in APPRENTICE_REDIS_URL ({error})"
        if parts.scheme == "redis" and _speaks_tls(place):
            return f"TLS is spoken there: use rediss:// in APPRENTICE_REDIS_URL ({error})"
    return explain(error)


def _speaks_plain(place: tuple[str, int]) -> bool:
    with suppress(OSError), socket.create_connection(place, PROBE_SECONDS) as plain:
        plain.sendall(b"PING\r\n")
        return plain.recv(1) in (b"+", b"-")
    return False


def _speaks_tls(place: tuple[str, int]) -> bool:
    anyone = ssl.create_default_context()
    anyone.check_hostname = False
    anyone.verify_mode = ssl.CERT_NONE
    with (
        suppress(OSError),
        socket.create_connection(place, PROBE_SECONDS) as plain,
        anyone.wrap_socket(plain),
    ):
        return True
    return False
