"""Where a model answers, as a tool has to be told."""

from __future__ import annotations

from dataclasses import dataclass

# What stands where the server's key belongs, which is nobody's to print.
KEY = "PUT-THE-API-KEY-HERE"
NO_KEY = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A llama-server.

    Attributes:
        base_url: where it answers, without ``/v1`` and without a final slash.
        model: what it calls the model.
        title: what a person reads.
        context: tokens that one request can hold; None for not known.
        is_keyed: whether it asks for a key.
    """

    base_url: str
    model: str
    title: str
    context: int | None = None
    is_keyed: bool = False

    @property
    def openai_url(self) -> str:
        """The base that OpenAI's clients are given."""
        return f"{self.base_url}/v1"

    @property
    def key(self) -> str:
        """What a tool is given as the key: most of them want one, asked for or not."""
        return KEY if self.is_keyed else NO_KEY

    @property
    def is_local(self) -> bool:
        """Whether it answers on this host alone."""
        host = self.base_url.partition("://")[2]
        return host.startswith(("127.", "localhost", "[::1]"))
