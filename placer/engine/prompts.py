"""What the load test sends: token ids that mean nothing, and an image of nothing."""

from __future__ import annotations

import struct
import zlib

# Where image sides begin: what a projector does not take in, it makes smaller itself.
IMAGE_SIDE, IMAGE_SIDE_LEAST = 4096, 64
PNG_START = b"\x89PNG\r\n\x1a\n"
# Width and height, 8 bits of grey, nothing special.
PNG_HEADER = struct.Struct(">IIBBBBB")


def prompt_of(n_tokens: int, n_vocab: int, seed: int) -> list[int]:
    """A deterministic prompt that visits the vocabulary, and so the experts, widely."""
    return [(seed * 7919 + i * 104729 + 11) % max(n_vocab, 1) for i in range(n_tokens)]


def image_sides() -> tuple[int, ...]:
    """Pixels of a side to try, the largest first."""
    sides = [IMAGE_SIDE]
    while sides[-1] > IMAGE_SIDE_LEAST:
        sides.append(sides[-1] // 2)
    return tuple(sides)


def png(side: int) -> bytes:
    """A black square as a PNG file."""
    row = b"\x00" * (1 + side)  # a byte for the row's filter, one a pixel
    return PNG_START + b"".join(
        (
            _chunk(b"IHDR", PNG_HEADER.pack(side, side, 8, 0, 0, 0, 0)),
            _chunk(b"IDAT", zlib.compress(row * side, 1)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + check
