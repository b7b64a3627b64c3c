"""Reads the first directory of TIFF files (Adobe, "TIFF", revision 6.0; BigTIFF).

The decoder is given a directory with the tags that it needs and no others. Values are left where
they are; only the directory is written anew, behind the file's end.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from studio.images.formats.container import Container, UnreadableError

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 256, 257, 258, 259, 262
ORIENTATION, SAMPLES, PLANAR, EXTRA, SAMPLE_FORMAT = 274, 277, 284, 338, 339
OFFSETS, ROWS, COUNTS = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
OLD_JPEG = 513
NO_DATA = 42113  # GDAL's, as text
LISTS = frozenset({OFFSETS, COUNTS, TILE_OFFSETS, TILE_COUNTS})
# Besides these: fill order, planes, predictor, colour map, JPEG's and YCbCr's tags, fax options.
NEEDED = LISTS | {
    WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, SAMPLES, PLANAR, EXTRA, SAMPLE_FORMAT, ROWS,
    TILE_WIDTH, TILE_HEIGHT, 266, 292, 293, 317, 320, 347, *range(512, 522), 529, 530, 531, 532,
}  # fmt: skip
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
         17: 8, 18: 8}  # fmt: skip
NUMBERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
MOST_TAGS = 1000
MOST_VALUES = 200_000  # of one tag: a colour map has 196,608, a picture less strips or tiles
MOST_BANDS = 4096
KINDS = {1: "", 2: " as signed numbers", 3: " as floating-point numbers"}


@dataclass(frozen=True)
class Tag:
    """An entry of the directory; `raw` is its value as it stands in the file."""

    kind: int
    raw: bytes


Tags = dict[int, tuple[int, ...]]


class Directory:
    """The first directory of a file. Raises UnreadableError when there is none."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = data[2:4] in (b"+\0", b"\0+")
        word, entry = ("Q", 20) if self.big else ("I", 12)
        self.tags: dict[int, Tag] = {}
        try:
            (position,) = struct.unpack_from(self.order + word, data, 8 if self.big else 4)
            (count,) = struct.unpack_from(self.order + ("Q" if self.big else "H"), data, position)
            position += 8 if self.big else 2
            for n in range(min(count, MOST_TAGS)):
                self._read(position + n * entry, word)
        except struct.error:
            raise UnreadableError("it is cut off") from None

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """A tag's values, `default` where it is missing or of a wrong type."""
        found = self.tags.get(tag)
        if found is None or found.kind not in NUMBERS:
            return default
        letter = NUMBERS[found.kind]
        count = len(found.raw) // SIZES[found.kind]
        return struct.unpack_from(f"{self.order}{count}{letter}", found.raw)

    def number(self, tag: int, default: int) -> int:
        """A tag's first value."""
        return self.numbers(tag, (default,))[0]

    def written(self, replaced: Tags | None = None) -> bytes:
        """The file with a directory of its needed tags, some with other numbers.

        A BigTIFF becomes a TIFF: Pillow doesn't read big-endian ones, and no file is that large.
        """
        tags = {tag: self._small(tag) for tag in self.tags.keys() & NEEDED}
        for tag, numbers in (replaced or {}).items():
            tags[tag] = Tag(4, struct.pack(f"{self.order}{len(numbers)}I", *numbers))
        tags = {tag: value for tag, value in tags.items() if value.raw}
        start = len(self.data) + len(self.data) % 2
        values, entries = bytearray(), []
        for tag, value in sorted(tags.items()):
            field = value.raw.ljust(4, b"\0")
            if len(field) > 4:
                field = struct.pack(self.order + "I", start + len(values))
                values += value.raw + bytes(len(value.raw) % 2)
            count = len(value.raw) // SIZES[value.kind]
            entries.append(struct.pack(self.order + "HHI", tag, value.kind, count) + field)
        number = struct.pack(self.order + "H", len(entries))
        header = struct.pack(self.order + "HI", 42, start + len(values))
        rest = memoryview(self.data)[8:]
        padding = bytes(len(self.data) % 2)
        return b"".join([self.data[:2], header, rest, padding, values, number, *entries, bytes(4)])

    def _small(self, tag: int) -> Tag:
        """A tag's value with numbers of 32 bits for 64."""
        value = self.tags[tag]
        if value.kind not in (16, 18):
            return value
        numbers = self.numbers(tag)
        if max(numbers) >= 2**32:
            raise UnreadableError("it is cut off")
        return Tag(4, struct.pack(f"{self.order}{len(numbers)}I", *numbers))

    def _read(self, position: int, word: str) -> None:
        tag, kind, count = struct.unpack_from(f"{self.order}HH{word}", self.data, position)
        inline = 8 if self.big else 4
        size = SIZES.get(kind, 0) * count
        field = position + 4 + inline
        if size > inline:
            (field,) = struct.unpack_from(self.order + word, self.data, field)
        wanted = tag in NEEDED or tag in (ORIENTATION, NO_DATA)
        if not wanted or not size or count > MOST_VALUES or tag in self.tags:
            return
        raw = self.data[field : field + size]
        if len(raw) == size:
            self.tags[tag] = Tag(kind, raw)


@dataclass(frozen=True)
class TiffContainer(Container):
    """A TIFF, and how its samples are to be read.

    `planes` has the tags of each of the first bands where these are stored one after another: with
    them, `directory` writes a file of this one band.
    """

    directory: Directory = field(kw_only=True)
    shape: tuple[int, int] = field(kw_only=True)  # width, height: `size` counts the tiles
    planes: tuple[Tags, ...] = ()
    kind: str = ""  # "5 bands of 16 bits"
    unsigned: bool = False
    white_is_zero: bool = False
    untagged_extra: bool = False  # a fourth band that nothing says to be alpha
    no_data: float | None = None


def clean(data: bytes) -> TiffContainer:
    """The first picture of the file. Raises UnreadableError."""
    directory = Directory(data)
    width, height = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    if not width or not height:
        raise UnreadableError("it has no size")
    if not {OFFSETS, TILE_OFFSETS, OLD_JPEG} & directory.tags.keys():
        raise UnreadableError("it has no picture")
    samples = directory.number(SAMPLES, max(1, len(directory.numbers(BITS))))
    if not 0 < samples <= MOST_BANDS:
        raise UnreadableError(f"it has {samples} bands")
    bits = directory.numbers(BITS, (1,))
    formats = directory.numbers(SAMPLE_FORMAT, (1,))
    photometric = directory.number(PHOTOMETRIC, 0)
    tile = directory.number(TILE_WIDTH, 0), directory.number(TILE_HEIGHT, 0)
    untagged = photometric == 2 and samples > 3 and not directory.numbers(EXTRA)
    planes = _planes(directory, samples, bits[0], (width, height), photometric)
    orientation = directory.number(ORIENTATION, 1)
    return TiffContainer(
        b"" if planes else directory.written(_signed(bits, formats)),
        "TIFF",
        orientation if 1 <= orientation <= 8 else 1,
        # A tile is decoded whole, however small the picture is.
        (max(width, tile[0]), max(height, tile[1])),
        bytes_a_pixel=_bytes_a_pixel(directory, (width, height), samples, bits[0]),
        bilevel=bits == (1,),
        directory=directory,
        shape=(width, height),
        planes=planes,
        kind=_kind(samples, bits, formats[0]),
        unsigned=formats[0] == 1,
        white_is_zero=photometric == 0,
        untagged_extra=untagged,
        no_data=_no_data(directory),
    )


def _planes(
    directory: Directory, samples: int, bits: int, size: tuple[int, int], photometric: int
) -> tuple[Tags, ...]:
    """The tags of each of the first bands, where each band has strips or tiles of its own.

    Colours that are coded together, and eight bits with alpha, are left to the decoder.
    """
    alpha = 2 in directory.numbers(EXTRA) and bits == 8
    if directory.number(PLANAR, 1) != 2 or samples < 2 or photometric > 2 or alpha:
        return ()
    tiled = TILE_OFFSETS in directory.tags
    across, down = size[0], max(directory.number(ROWS, size[1]), 1)
    if tiled:
        across, down = directory.number(TILE_WIDTH, 0), directory.number(TILE_HEIGHT, 0)
    if not across or not down:
        return ()
    each = -(-size[0] // across) * -(-size[1] // down)
    where, lengths = (TILE_OFFSETS, TILE_COUNTS) if tiled else (OFFSETS, COUNTS)
    offsets, counts = directory.numbers(where), directory.numbers(lengths)
    if len(offsets) < each * samples or len(counts) < each * samples:
        return ()
    single = {
        SAMPLES: (1,),
        BITS: (bits,),
        SAMPLE_FORMAT: (directory.number(SAMPLE_FORMAT, 1),),
        **_signed((bits,), directory.numbers(SAMPLE_FORMAT, (1,))),
        PHOTOMETRIC: (min(photometric, 1),),
        PLANAR: (1,),
        EXTRA: (),
    }
    shown = 3 if samples >= 3 and photometric == 2 else 1
    parts = [slice(n * each, (n + 1) * each) for n in range(shown)]
    return tuple(single | {where: offsets[part], lengths: counts[part]} for part in parts)


def _bytes_a_pixel(directory: Directory, size: tuple[int, int], samples: int, bits: int) -> int:
    """Memory of decoding: the picture, twice for deep colours, and a strip or tile of it."""
    width, height = size
    rows = min(directory.number(ROWS, height), height)
    if TILE_OFFSETS in directory.tags:
        width, rows = directory.number(TILE_WIDTH, 0), directory.number(TILE_HEIGHT, 0)
    strip = width * rows * samples * bits // 8
    return (9 if bits > 8 and samples > 1 else 6) + -(-strip // (size[0] * size[1]))


def _signed(bits: tuple[int, ...], formats: tuple[int, ...]) -> Tags:
    """The tag that has 32-bit numbers read as signed: Pillow reads no others in both byte orders.

    The bits are the same.
    """
    return {SAMPLE_FORMAT: (2,)} if bits == (32,) and formats[0] == 1 else {}


def _kind(samples: int, bits: tuple[int, ...], format_: int) -> str:
    depth = f"{bits[0]} bits" if bits[0] != 1 else "1 bit"
    depth = depth if len(set(bits)) == 1 else " and ".join(map(str, bits[:6])) + " bits"
    return f"{samples} band{'s' if samples > 1 else ''} of {depth}{KINDS.get(format_, '')}"


def _no_data(directory: Directory) -> float | None:
    tag = directory.tags.get(NO_DATA)
    try:
        return float(tag.raw[:64].split(b"\0")[0]) if tag else None
    except ValueError:
        return None
