"""Decodes what servers compress on the way (Content-Encoding), also unasked."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

STEP = 1 << 20  # bytes decoded at a time
MOST_CODINGS = 5
GZIP = frozenset({"gzip", "x-gzip"})
UNREADABLE = frozenset({"br", "zstd", "compress", "x-compress", "dcb", "dcz"})


class EncodingError(Exception):
    """A body that can't be decoded; the message says why."""


class BrokenOffError(EncodingError):
    """A body whose end is missing."""


def decoded(chunks: Iterator[bytes], content_encoding: str) -> Iterator[bytes]:
    """The chunks decoded, none larger than `STEP` where any was compressed.

    What is no compression (`identity`, `utf-8`, `aws-chunked`) is ignored, as browsers do. Raises
    EncodingError.
    """
    names = [name.strip().lower() for name in content_encoding.split(",")]
    known = [name for name in names if name in GZIP | UNREADABLE | {"deflate"}]
    if len(known) > MOST_CODINGS:
        raise EncodingError("it is compressed too many times")
    for name in reversed(known):  # the last one was applied last
        if name in UNREADABLE:
            raise EncodingError(f"it is compressed as {name}, which was not asked for")
        chunks = _inflated(chunks, gzip=name in GZIP)
    return chunks


def _inflated(chunks: Iterator[bytes], *, gzip: bool) -> Iterator[bytes]:
    """RFC 1952 with all its members, or zlib's format, which some servers leave out."""
    inflater = None
    for chunk in chunks:
        if inflater is None:
            bits = 31 if gzip else 15 if _is_zlib(chunk) else -15
            inflater = zlib.decompressobj(bits)
        rest, full = chunk, False
        while rest or full:
            try:
                out = inflater.decompress(rest, STEP)
            except zlib.error:
                raise EncodingError("it is not compressed as its header says") from None
            if out:
                yield out
            rest, full = inflater.unconsumed_tail, len(out) == STEP
            if inflater.eof:
                rest, full = inflater.unused_data, False
                if not (gzip and rest.startswith(b"\x1f\x8b")):
                    break  # what follows the end is ignored
                inflater = zlib.decompressobj(31)
    if inflater is not None and not inflater.eof:
        raise BrokenOffError("its compressed data breaks off")


def _is_zlib(start: bytes) -> bool:
    return len(start) < 2 or (start[0] & 15 == 8 and (start[0] << 8 | start[1]) % 31 == 0)
