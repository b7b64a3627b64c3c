"""The paths of Label Studio that serve images: its token goes to these alone.

Task data can name any path of Label Studio's host, its API and other applications included.
"""

from __future__ import annotations

import re
import urllib.parse

import httpx

# Uploads and local files; a task's images in cloud storage.
IMAGES = re.compile(r"/(data/.+|tasks/[0-9]+/resolve/?)", re.DOTALL)
FILE = re.compile(
    r"/.+\.(jpe?g|jfif|png|apng|webp|gif|bmp|tiff?|avif|hei[cf]|jp2|jxl|ico|tga|p[bgp]m|dcm)",
    re.DOTALL | re.IGNORECASE,
)
DECODINGS = 5  # of percent-encoding within percent-encoding


def takes_token(url: str, base: str) -> bool:
    """Whether `url`, on the origin of Label Studio's `base` URL, is an image that needs the token.

    Its path is what any server could make of it: decoded as often as possible. A path that still
    has dots as a segment, a backslash or a control character then is none of an image.
    """
    return _is_below(url, base, IMAGES)


def is_image_file(url: str, base: str) -> bool:
    """Whether `url` names an image beside Label Studio, such as its server's `/images/cat.jpg`.

    It gets no token, but may be on the private address that Label Studio has itself.
    """
    return _is_below(url, base, FILE)


def _is_below(url: str, base: str, pattern: re.Pattern[str]) -> bool:
    path = _plain(httpx.URL(url))
    prefix = httpx.URL(base).path.rstrip("/")
    return (
        path is not None
        and path.startswith(prefix)
        and pattern.fullmatch(path.removeprefix(prefix)) is not None
    )


def _plain(url: httpx.URL) -> str | None:
    """The decoded path with single slashes, None when servers could disagree about it."""
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    for _ in range(DECODINGS):
        decoded = urllib.parse.unquote(path)
        if decoded == path:
            break
        path = decoded
    else:
        return None
    if "\\" in path or not path.isprintable():
        return None
    # Some servers take what follows a semicolon for parameters of the segment.
    if any(segment.partition(";")[0].strip() in (".", "..") for segment in path.split("/")):
        return None
    return re.sub("/+", "/", path)
