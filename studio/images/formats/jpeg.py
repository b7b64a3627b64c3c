"""Reads the segments of JPEG files (ITU-T T.81, annex B)."""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Iterator

from studio.images.formats.container import (
    EXIF_HEADER,
    Container,
    UnreadableError,
    exif_orientation,
)

START, END = b"\xff\xd8", b"\xff\xd9"
SCAN = b"\xff\xda"
STANDALONE = frozenset({0x00, 0x01, *range(0xD0, 0xD8)})  # markers without a length
METADATA = frozenset({*range(0xE1, 0xEE), 0xEF, 0xFE})  # APP1 to APP13, APP15, comments
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
# Scans of a small file can each pass over all pixels: so many pixels, over all scans, are decoded.
MOST_SCANNED = 2_000_000_000
NOISE_BYTES = 4096  # more than any block of pixels takes


def clean(data: bytes) -> Container:
    """The file without metadata and without a second picture's directory (MPO)."""
    kept, orientation, position = [START], 1, len(START)
    while 0 <= position < len(data) - 4:
        position = data.find(b"\xff", position)
        marker = data[position + 1] if 0 <= position < len(data) - 3 else None
        if marker is None or marker in (0xD9, 0xDA):
            break
        if marker in STANDALONE or marker == 0xFF:
            position += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position : position + 2 + length]
        if marker == 0xE1 and segment[4:].startswith(EXIF_HEADER):
            orientation = exif_orientation(segment[4:])
        if marker not in METADATA and not (marker == 0xE0 and segment[4:8] != b"JFIF"):
            kept.append(segment)
        position += 2 + max(length, 2)
    kept.append(data[position:] if position >= 0 else b"")
    cleaned = b"".join(kept)
    frame = _frame(cleaned)
    if frame is not None:
        _check_scans(cleaned, frame[1])
    # All coefficients of a progressive file are held until its last scan.
    progressive = frame is not None and frame[0] in PROGRESSIVE
    return Container(cleaned, "JPEG", orientation, bytes_a_pixel=10 if progressive else 5)


def lacks_end(data: bytes) -> bool:
    """Whether the marker of the end is missing after the last scan."""
    return data.rfind(END) < data.rfind(SCAN)


def ended(data: bytes) -> tuple[bytes, bytes] | None:
    """Two ends for a file without one, None when whole scans are missing.

    A decoder fills what is missing from what follows. So both files decode to the same pixels if
    nothing is missing: after the second, noise follows, also after another restart marker.
    """
    if not _has_all_scans(data):
        return None
    data = data.rstrip(b"\xff")
    dice = random.Random(0)  # noqa: S311 - any bytes do
    noise = bytes(dice.randrange(255) for _ in range(NOISE_BYTES))
    last = max((data.rfind(bytes([0xFF, 0xD0 + n])), n) for n in range(8))
    following = bytes([0xFF, 0xD0 + (last[1] + 1) % 8 if last[0] > data.rfind(SCAN) else 0xD0])
    return data + END, data + noise + following + noise + END


def _scans(data: bytes) -> Iterator[tuple[list[int], int, int, int]]:
    """Each scan's components, first and last coefficient, and the bit that it ends at."""
    position = data.find(SCAN)
    while position >= 0:
        header = data[position + 4 : position + 16]
        count = header[0] if header else 0
        if 1 <= count <= 4 and len(header) >= 4 + 2 * count:
            first, last, bits = header[1 + 2 * count : 4 + 2 * count]
            yield list(header[1 : 1 + 2 * count : 2]), first, last, bits & 15
        position = data.find(SCAN, position + 2)


def _frame(data: bytes) -> tuple[int, int, list[int]] | None:
    """The marker of the frame's header, its pixels, and its components."""
    position = len(START)
    while position < len(data) - 10 and data[position] == 0xFF:
        marker, (length,) = data[position + 1], struct.unpack_from(">H", data, position + 2)
        if marker in FRAMES:
            height, width, count = struct.unpack_from(">HHB", data, position + 5)
            return marker, width * height, list(data[position + 10 : position + 10 + 3 * count : 3])
        position += 2 + length
    return None


def _check_scans(data: bytes, pixels: int) -> None:
    scans = data.count(SCAN)
    if scans > 20 and scans * pixels > MOST_SCANNED:
        raise UnreadableError(f"it has {scans} scans of {pixels / 1e6:.0f} million pixels")


def _has_all_scans(data: bytes) -> bool:
    """Whether each component's coefficients are there to the last bit."""
    frame = _frame(data)
    if frame is None:
        return False
    marker, _, components = frame
    if marker not in PROGRESSIVE:
        return set(components) <= {one for scan in _scans(data) for one in scan[0]}
    complete: defaultdict[int, set[int]] = defaultdict(set)
    for scanned, first, last, bit in _scans(data):
        for component in scanned:
            if bit == 0:
                complete[component].update(range(first, last + 1))
    return all(complete[component] >= set(range(64)) for component in components)
