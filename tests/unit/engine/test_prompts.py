"""Prompts and images that mean nothing."""

from __future__ import annotations

import struct
import zlib

from placer.engine.prompts import image_sides, png, prompt_of


def test_a_prompt_visits_the_vocabulary_widely() -> None:
    """Tokens are valid, the same every time, and differ from slot to slot."""
    prompt = prompt_of(2000, 512, 0)
    assert len(prompt) == 2000
    assert all(0 <= token < 512 for token in prompt)
    assert len(set(prompt)) == 512
    assert prompt == prompt_of(2000, 512, 0)
    assert prompt[:10] != prompt_of(2000, 512, 1)[:10]
    assert prompt_of(3, 0, 1) == [0, 0, 0]


def chunks_of(data: bytes) -> dict[bytes, bytes]:
    """The chunks of a PNG file, their sums checked."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found, at = {}, 8
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        (check,) = struct.unpack_from(">I", data, at + 8 + size)
        assert check == zlib.crc32(kind + content)
        found[kind] = content
        at += 12 + size
    return found


def test_an_image_is_a_png_of_its_size() -> None:
    """Grey, 8 bits: a filter and a byte a pixel in each row."""
    chunks = chunks_of(png(96))
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (96, 96, 8, 0, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == bytes(96 * 97)


def test_the_largest_image_is_small_to_send() -> None:
    """Each is half of the one before, down to one that any context has room for."""
    sides = image_sides()
    assert sides == (4096, 2048, 1024, 512, 256, 128, 64)
    assert len(png(sides[0])) < 100_000
