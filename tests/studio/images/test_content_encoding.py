"""Bodies that servers compress unasked."""

import gzip
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studio.images.content_encoding import BrokenOffError, EncodingError, decoded
from studio.images.loader import ImageLoader, ImagePolicy, PermanentImageError
from tests.support.scripted_studio import IMAGE, LOCAL, UPLOAD, Reply, ScriptedServer


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(data=st.binary(max_size=5000), size=st.integers(2, 999))
def test_each_coding_in_pieces_of_any_size(data: bytes, size: int) -> None:
    for name, encoded in (
        ("gzip", gzip.compress(data)),
        (" X-GZIP ", gzip.compress(data)),
        ("gzip", gzip.compress(data[:99]) + gzip.compress(data[99:])),
        ("gzip", gzip.compress(data) + b"behind"),
        ("deflate", zlib.compress(data)),
        ("deflate, gzip", gzip.compress(zlib.compress(data))),
        ("identity", data),
        ("", data),
        ("aws-chunked", data),
    ):
        assert b"".join(decoded(pieces(encoded, size), name)) == data
    if data:
        assert b"".join(decoded(pieces(raw_deflate(data), size), "deflate")) == data


def test_what_breaks_off_or_is_something_else() -> None:
    whole = gzip.compress(b"x" * 9999)
    with pytest.raises(BrokenOffError):
        list(decoded(iter([whole[:-5]]), "gzip"))
    with pytest.raises(EncodingError, match="not compressed"):
        list(decoded(iter([b"\xff\xd8\xff a JPEG"]), "gzip"))
    for name in ("br", "zstd", "gzip, br"):
        with pytest.raises(EncodingError, match="not asked for"):
            list(decoded(iter([whole]), name))
    with pytest.raises(EncodingError, match="too many"):
        list(decoded(iter([whole]), ", ".join(["gzip"] * 99)))


@pytest.mark.parametrize("who", ["studio", "stranger"])
def test_an_image_compressed_unasked_is_fetched(
    server: ScriptedServer, stranger: ScriptedServer, loader: ImageLoader, who: str
) -> None:
    asked = server if who == "studio" else stranger
    asked.on(UPLOAD, Reply(200, gzip.compress(IMAGE), {"Content-Encoding": "gzip"}))
    assert loader.fetch(asked.url + UPLOAD, 1) == IMAGE
    assert asked.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("who", ["studio", "stranger"])
def test_the_limit_is_on_decoded_bytes(
    server: ScriptedServer, stranger: ScriptedServer, who: str, loader: ImageLoader
) -> None:
    asked = server if who == "studio" else stranger
    bomb = gzip.compress(gzip.compress(bytes(50_000_000)))
    assert len(bomb) < 10_000
    asked.on(UPLOAD, Reply(200, bomb, {"Content-Encoding": "gzip, gzip"}))
    with pytest.raises(PermanentImageError, match="MiB are allowed"):
        loader.fetch(asked.url + UPLOAD, 1)


def test_a_header_in_utf_8_is_read(stranger: ScriptedServer) -> None:
    there = "/bücher/é.jpg".encode().decode("latin-1")  # as http.server writes it
    stranger.on("/go", Reply(302, headers={"Location": there}))
    stranger.on("/b%C3%BCcher/%C3%A9.jpg", Reply(200, IMAGE))
    loader = ImageLoader(None, ImagePolicy(addresses=LOCAL))
    assert loader.fetch(f"{stranger.url}/go", 1) == IMAGE
    loader.close()
