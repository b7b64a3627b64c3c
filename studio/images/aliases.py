"""Other addresses of the connected Label Studio that its tasks' data use for its own files.

Label Studio writes the path prefix of its public address (LABEL_STUDIO_HOST) before its files, also
where it is reached without it, and imported data may name it by another host. An alias is what
stands before the path of the file: a prefix such as "/foo", or an address such as
"http://localhost:8080/foo".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from studio.http import origin_of

UPLOAD = "/data/upload/"  # its files have random names: the same one elsewhere is the same file
FILE = re.compile(rf"{UPLOAD}|/data/local-files/|/tasks/\d+/(?:resolve|presign)/")
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def possible_alias(uri: str, studio_url: str) -> str | None:
    """What may be another address of the Label Studio at `studio_url` in an image's URI."""
    begin, separator, _ = uri.strip().partition("?")
    found = FILE.search(begin + separator.replace("?", "/"))
    if found is None:
        return None
    alias = begin[: found.start()]
    if alias in ("", studio_url, urlsplit(studio_url).path):
        return None
    if alias.startswith("/"):
        return None if alias.startswith("//") else alias
    if not alias.startswith(("http://", "https://")):
        return None
    try:
        host = origin_of(alias)[1]
    except ValueError:
        return None
    return alias if host in LOOPBACK or found[0] == UPLOAD else None


def without_alias(uri: str, aliases: Iterable[str]) -> str:
    """The path of Label Studio's file, where the URI begins with an alias; else the URI."""
    uri = uri.strip()
    for alias in aliases:
        if uri.startswith(f"{alias}/") and possible_alias(uri, "") == alias:
            return uri[len(alias) :]
    return uri
