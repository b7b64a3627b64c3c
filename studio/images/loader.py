"""Loads images by any URI that Label Studio uses, within a policy's limits."""

from __future__ import annotations

import base64
import binascii
import contextlib
import time
import urllib.parse
from collections.abc import Iterator

import httpx

from studio.client import StudioClient
from studio.http import origin_of
from studio.images.aliases import without_alias
from studio.images.decoding import DecodedImage, decode, decode_image
from studio.images.fetching import (
    Answer,
    ForeignGetter,
    get_from_studio,
    read_body,
    too_big,
    too_slow,
)
from studio.images.host_places import HostPlaces
from studio.images.policy import ImageError, ImagePolicy, PassingImageError, PermanentImageError
from studio.images.token_paths import is_image_file, takes_token

__all__ = [
    "DecodedImage",
    "HostPlaces",
    "ImageError",
    "ImageLoader",
    "ImagePolicy",
    "PassingImageError",
    "PermanentImageError",
    "decode",
    "decode_image",
]

WITH_IMAGE = frozenset({200, 203})  # 203: a proxy has changed it
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Client errors that may be gone later: the token, a timeout, a dependency, too early, too many.
PASSING_STATUSES = frozenset({401, 407, 408, 424, 425, 429})
# Schemes that neither Label Studio's storages nor the web use for images.
REFUSED_SCHEMES = frozenset({"file", "ftp", "javascript", "blob", "about", "mailto"})
# What Label Studio 1.23 says, with a 500, about an uploaded file that it does not know any more.
FORGOTTEN_UPLOAD = b"'NoneType' object has no attribute 'has_permission'"


class ImageLoader:
    """Fetches the bytes of images. Safe to share between threads.

    With `studio` None only URIs that need no Label Studio can be fetched: http(s) and `data:`.
    `places` limits how many images come from one host at a time; by default nothing does.
    """

    def __init__(
        self,
        studio: StudioClient | None,
        policy: ImagePolicy | None = None,
        places: HostPlaces | None = None,
    ) -> None:
        self.policy = policy or ImagePolicy()
        self._studio = studio
        self._places = places
        self._foreign = ForeignGetter(self.policy)

    def fetch(self, uri: str, task_id: int) -> bytes:
        """The bytes behind `uri`, as it stands in the data of task `task_id`.

        All of it, redirects included, ends after the policy's seconds. Raises PermanentImageError
        or PassingImageError.
        """
        uri = uri.strip()
        if uri[:5].lower() == "data:":
            return self._data(uri)
        try:
            return self._fetch(self._url(uri, task_id))
        except ImageError:
            raise
        except Exception as exc:
            # Addresses and answers come from anybody, and the libraries below raise more than they
            # say: of a host's name that can't be encoded, of a number with thousands of digits.
            raise PermanentImageError(
                f"the image's address, or the answer to it, is not valid ({type(exc).__name__})"
            ) from exc

    def close(self) -> None:
        """Close the connections."""
        self._foreign.close()

    def _fetch(self, url: str) -> bytes:
        trusted = True
        until = time.monotonic() + self.policy.max_seconds
        for _ in range(self.policy.max_redirects + 1):
            # The token never comes back into play: a stranger's redirect must not steer it.
            trusted = trusted and self._is_studios(url)
            with self._get(url, trusted, until) as answer:
                if answer.status not in REDIRECTS:
                    return self._body(answer, url, trusted, until)
                url = _redirected(url, answer)
        raise PermanentImageError(f"more than {self.policy.max_redirects} redirects")

    @contextlib.contextmanager
    def _get(self, url: str, trusted: bool, until: float) -> Iterator[Answer]:
        if time.monotonic() >= until:
            raise too_slow(self.policy)
        if trusted and self._studio is not None:
            token = takes_token(url, self._studio.url)
            with get_from_studio(self._studio.http, url, until, token=token) as answer:
                yield answer
            return
        place = self._places.take(httpx.URL(url).netloc.decode()) if self._places else _NO_LIMIT
        with place, self._foreign.get(url, until) as answer:
            yield answer

    def _body(self, answer: Answer, url: str, trusted: bool, until: float) -> bytes:
        status = answer.status
        if status in WITH_IMAGE:
            body = read_body(answer, self.policy, until)
            if not body:
                raise PermanentImageError("the image is empty: it has 0 bytes")
            return body
        who = "Label Studio" if trusted else httpx.URL(url).host
        reason = f"{who} answers {status} for the image"
        if status == 401 and trusted:
            raise PassingImageError(f"{reason}: it does not accept our token")
        if status == 500 and trusted:
            if FORGOTTEN_UPLOAD in read_body(answer, self.policy, until):
                raise PermanentImageError("Label Studio does not have the uploaded file any more")
            raise PassingImageError(reason)
        if status >= 500 or status in PASSING_STATUSES:
            raise PassingImageError(reason)
        raise PermanentImageError(reason)

    def _url(self, uri: str, task_id: int) -> str:
        """The http(s) URL to ask first."""
        if self._studio is not None:
            uri = without_alias(uri, self._studio.aliases)
        scheme = _scheme(uri)
        if scheme in ("http", "https"):
            return _checked(_with_slashes(uri))
        if scheme in REFUSED_SCHEMES:
            raise PermanentImageError(f"{scheme}: is not fetched for images")
        if self._studio is None:
            raise PermanentImageError(f"{_shown(uri)} can only be fetched through Label Studio")
        base = self._studio.url
        if uri.startswith("/"):
            return _checked(_below(base, uri))
        if scheme and uri[len(scheme) :].startswith("://"):
            name = base64.urlsafe_b64encode(uri.encode()).decode()
            return f"{base}/tasks/{task_id}/resolve/?fileuri={urllib.parse.quote(name)}"
        raise PermanentImageError(f"{_shown(uri)} is no address of an image")

    def _is_studios(self, url: str) -> bool:
        """Whether it is an image on Label Studio's own server, whatever address that has."""
        if self._studio is None or origin_of(url) != self._studio.http.origin:
            return False
        return takes_token(url, self._studio.url) or is_image_file(url, self._studio.url)

    def _data(self, uri: str) -> bytes:
        """The bytes in a `data:` URI (RFC 2397)."""
        head, comma, payload = uri.partition(",")
        if not comma:
            raise PermanentImageError("a data: URI without a comma")
        # Both encodings make bytes longer, so this bounds the work before it is done.
        if len(payload) > 3 * self.policy.max_bytes:
            raise too_big(len(payload) // 3, self.policy)
        data = urllib.parse.unquote_to_bytes(payload)
        if head.lower().endswith(";base64"):
            try:
                data = base64.b64decode(data + b"=" * (-len(data) % 4))
            except binascii.Error as exc:
                raise PermanentImageError(f"a data: URI with broken base64: {exc}") from exc
        if len(data) > self.policy.max_bytes:
            raise too_big(len(data), self.policy)
        if not data:
            raise PermanentImageError("the image is empty: it has 0 bytes")
        return data


def _scheme(uri: str) -> str:
    scheme, colon, _ = uri.partition(":")
    known = scheme.replace("-", "").replace("+", "").replace(".", "")
    return scheme.lower() if colon and known.isalnum() and known.isascii() else ""


def _below(base: str, path: str) -> str:
    """A path on Label Studio's host, which may itself live below a path prefix."""
    root = httpx.URL(base)
    if path.startswith("//"):
        return f"{root.scheme}:{path}"
    prefix = root.path.rstrip("/")
    origin = base[: len(base) - len(prefix)] if prefix else base
    return origin + path if prefix and path.startswith(prefix + "/") else base + path


def _checked(url: str) -> str:
    try:
        origin_of(url)
    except ValueError:
        raise PermanentImageError(f"{_shown(url)} is no address of an image") from None
    return url


def _shown(uri: str) -> str:
    """The start of an address that stands in a task, without what may be secret in it."""
    plain = uri.partition("?")[0].partition("#")[0]
    scheme, separator, rest = plain.partition("://")
    if separator and "@" in rest:
        plain = f"{scheme}://…@{rest.rpartition('@')[2]}"
    return repr(plain[:80])


def _with_slashes(url: str) -> str:
    """The address with slashes for backslashes before its query, as browsers read it."""
    path, mark, query = url.partition("?")
    return path.replace("\\", "/") + mark + query


def _redirected(url: str, answer: Answer) -> str:
    location = answer.headers.get("location")
    if not location:
        raise PermanentImageError(f"a redirect ({answer.status}) to nowhere")
    try:
        target = str(httpx.URL(url).join(_with_slashes(location)))
        origin = origin_of(target)
    except (httpx.InvalidURL, ValueError) as exc:
        raise PermanentImageError("a redirect to what is no http:// or https:// address") from exc
    if "/user/login" in target and origin_of(url) == origin:
        raise PassingImageError("Label Studio asks to sign in: it does not accept our token")
    return target


_NO_LIMIT: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
