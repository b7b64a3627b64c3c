"""Frames: records of a log file, each with its number, length and checksum.

A frame is MAGIC, then length and CRC-32 as 32 bits and the number as 64 bits, little-endian, then
the payload; the checksum is of number and payload. A frame that is torn or damaged ends nothing:
reading goes on at the next whole one.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"\x8bAPR"
_HEADER = struct.Struct("<4sIIQ")
_NUMBER = struct.Struct("<Q")


@dataclass(frozen=True)
class Frame:
    """A whole frame. `end` is the offset of the byte after it."""

    number: int
    payload: bytes
    end: int


@dataclass(frozen=True)
class Damage:
    """Bytes from `start` to `end` that belong to no whole frame."""

    start: int
    end: int


def encode(number: int, payload: bytes) -> bytes:
    """The frame of a payload."""
    return _HEADER.pack(MAGIC, len(payload), _checksum(number, payload), number) + payload


def decode(data: bytes, start: int = 0) -> Iterator[Frame | Damage]:
    """The frames of a file's content from an offset on, and what lies between them."""
    position = start
    while position < len(data):
        frame = _frame_at(data, position)
        if frame is None:
            following = _next_frame(data, position + 1)
            end = following if following is not None else len(data)
            yield Damage(position, end)
            position = end
        else:
            yield frame
            position = frame.end


def _frame_at(data: bytes, start: int) -> Frame | None:
    body = start + _HEADER.size
    if body > len(data):
        return None
    magic, length, checksum, number = _HEADER.unpack_from(data, start)
    if magic != MAGIC or body + length > len(data):
        return None
    payload = data[body : body + length]
    if _checksum(number, payload) != checksum:
        return None
    return Frame(number, payload, body + length)


def _next_frame(data: bytes, start: int) -> int | None:
    while (start := data.find(MAGIC, start)) >= 0:
        if _frame_at(data, start) is not None:
            return start
        start += 1
    return None


def _checksum(number: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_NUMBER.pack(number)))
