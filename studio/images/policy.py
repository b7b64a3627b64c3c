"""Limits on images, and the errors for images that are refused."""

from __future__ import annotations

from dataclasses import dataclass, field

from studio.images.addresses import AddressPolicy

MIB = 1024 * 1024


class ImageError(Exception):
    """No image. `reason` is one sentence for people, without secrets."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PermanentImageError(ImageError):
    """Trying again can't help: the image is missing, broken, not an image, too big, or refused."""


class PassingImageError(ImageError):
    """Trying again later may help: no connection, a timeout, a server's own fault, a bad token."""


@dataclass(frozen=True)
class ImagePolicy:
    """Limits on one image.

    `max_pixels` holds before anything is decoded: 64 million take 192 MB as RGB. `draft_side` says
    how far big JPEGs may be shrunk while they are decoded: neither side gets shorter than this many
    pixels (0 never shrinks); it must be more than any backbone's input.
    """

    max_bytes: int = 64 * MIB
    max_pixels: int = 64_000_000
    max_seconds: float = 15.0  # of wall-clock, redirects included
    max_redirects: int = 5
    draft_side: int = 640  # pixels
    addresses: AddressPolicy = field(default_factory=AddressPolicy)
