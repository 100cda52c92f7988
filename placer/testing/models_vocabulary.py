"""A vocabulary of any size that needs no data from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from placer.testing.models_file import Array, Field, strings, text, uint32

#: llama_token_type of a token, llama.h
NORMAL: Final = 1
CONTROL: Final = 3
UNUSED: Final = 5

#: Bytes that are text by themselves. The others are tokens all the same, and print as
#: nothing: the server fails a completion that is not UTF-8, which random weights write.
_TEXT: Final = frozenset({0x09, 0x0A, 0x0D, *range(0x20, 0x7F)})
#: Pairs that are joined, so that a tokenizer has something to do.
MERGES: Final = ("t h", "th e", "i n", "e r")
SPECIAL: Final = ("<|start|>", "<|end|>")
N_BYTES: Final = 256
#: The fewest tokens of which none is left out: bytes, joined pairs, start and end.
MIN_TOKENS: Final = N_BYTES + len(MERGES) + len(SPECIAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Byte-level tokens as GPT-2 has them, filled up with tokens never met in text.

    Any text becomes tokens 0 to 255, a byte each, but for four joined pairs; every
    number below ``n_tokens`` is a token. Below ``MIN_TOKENS`` the last of them are left
    out, and only prompts of token numbers are sure to be read.
    """

    n_tokens: int

    def fields(self) -> tuple[Field, ...]:
        """The metadata that llama.cpp reads a vocabulary from."""
        start = min(MIN_TOKENS, self.n_tokens) - len(SPECIAL)
        kinds = Array(element_type="int32", values=self._kinds())
        return (
            text("tokenizer.ggml.model", "gpt2"),
            text("tokenizer.ggml.pre", "gpt-2"),
            strings("tokenizer.ggml.tokens", self._tokens()),
            Field(key="tokenizer.ggml.token_type", type_name="array", value=kinds),
            strings("tokenizer.ggml.merges", MERGES),
            uint32("tokenizer.ggml.bos_token_id", start),
            uint32("tokenizer.ggml.eos_token_id", start + 1),
            Field(key="tokenizer.ggml.add_bos_token", type_name="bool", value=False),
        )

    def _tokens(self) -> list[str]:
        joined = [pair.replace(" ", "") for pair in MERGES]
        own = [*byte_alphabet(), *joined, *SPECIAL]
        # No merge leads to these, so no text becomes them.
        rest = [f"<{number}>" for number in range(len(own), self.n_tokens)]
        return (own + rest)[: self.n_tokens]

    def _kinds(self) -> list[int]:
        special = [CONTROL] * len(SPECIAL)
        before = [NORMAL if byte in _TEXT else UNUSED for byte in range(N_BYTES)]
        before += [NORMAL] * len(MERGES)
        after = [NORMAL] * (self.n_tokens - MIN_TOKENS)
        return (before + special + after)[: self.n_tokens]


def byte_alphabet() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary.

    Bytes that print stand for themselves, the others for the characters from U+0100
    on, as GPT-2 chose them (``unicode_byte_to_utf8_map``, src/unicode.cpp).
    """
    printing = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte if byte in printing else next(others)) for byte in range(N_BYTES)]
