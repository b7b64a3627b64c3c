"""The certificate authorities that are trusted: the system's, certifi's, and those of the admin."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import httpx

# Each names a file or folder of certificates; the first is OpenSSL's, the second Requests'.
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE")
HINT = (
    "set SSL_CERT_FILE (or REQUESTS_CA_BUNDLE) to a PEM file with the certificate of its "
    "authority, or with its own where it is self-signed"
)
WRONG_HOST = (62, 64)  # OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and …_IP_ADDRESS_MISMATCH


def trusted_certificates() -> ssl.SSLContext:
    """A context that trusts the usual authorities and those that the environment names.

    Raises:
        ValueError: a variable names a file that holds no certificates.
    """
    return _context(tuple((name, os.environ.get(name, "")) for name in VARIABLES))


@lru_cache(maxsize=4)  # reading all certificates takes 20 ms
def _context(named: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)  # certifi's
    context.load_default_certs()
    for variable, place in named:
        if not place:
            continue
        try:
            if Path(place).is_dir():
                context.load_verify_locations(capath=place)
            else:
                context.load_verify_locations(cafile=place)
        except OSError as error:  # ssl.SSLError too
            raise ValueError(
                f"{variable} is {place!r}, which can't be read as PEM certificates: {error}"
            ) from error
    return context


def certificate_problem(error: BaseException) -> str | None:
    """What is wrong with a server's certificate and what to do; None for any other error."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message.rstrip(".")
            if cause.verify_code in WRONG_HOST:
                return f"its certificate is of another host ({why}): use the name that it has"
            return f"its certificate is not trusted ({why}): {HINT}"
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
