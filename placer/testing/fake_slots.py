"""Slots that read prompts and decode tokens of no meaning."""

from __future__ import annotations

import base64
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.model import ModelShape
    from placer.placement import Workload
    from placer.testing.fake_http import Reply
    from placer.testing.fake_log import Log

MARKER = "<__media_of_the_fake__>"
# Pixels of a token's side, and the most that a projector makes of an image.
TOKEN_SIDE, IMAGE_TOKENS_MAX = 32, 1024
BATCH_S = 0.0005
TOKEN_S = 0.0001
PACED_TOKEN_S = 0.01


class DecodeError(Exception):
    """The graph of a batch could not be computed."""


class Graph(Protocol):
    """What happens when a batch is computed."""

    def compute(self, n_tokens: int) -> None:
        """Compute a batch.

        Raises:
            DecodeError: it failed, and the engine lives on.
        """

    def encode(self) -> None:
        """Encode an image.

        Raises:
            DecodeError: it failed, and the engine lives on.
        """


class Slots:
    """All slots of a server, and the context that they share or do not."""

    def __init__(
        self, shape: ModelShape, workload: Workload, graph: Graph, log: Log
    ) -> None:
        self._workload = workload
        self._n_vocab = shape.n_vocab
        trained = shape.context_length or workload.n_ctx_seq
        self.n_ctx_slot = min(workload.n_ctx_seq, trained)
        self._graph = graph
        self._log = log
        self._free_slots = threading.Semaphore(workload.parallel)
        self._lock = threading.Lock()
        self._cells_used = 0
        # Of the time of a token, where what is said of it follows from the flags.
        self.factor: float | None = None

    @staticmethod
    def props(*, has_projector: bool) -> dict[str, Any]:
        """What the server says of itself."""
        return {"modalities": {"vision": has_projector}, "media_marker": MARKER}

    def complete(self, body: bytes, reply: Reply) -> None:
        """Answer one request to ``/completion``, as a stream."""
        asked = json.loads(body)
        prompt, n_predict = asked["prompt"], int(asked["n_predict"])
        is_image = isinstance(prompt, dict)
        n_tokens = _image_tokens(prompt) if is_image else len(prompt)
        if not is_image and any(not 0 <= token < self._n_vocab for token in prompt):
            reply.error(400, "Prompt contains invalid tokens", "invalid_request_error")
        elif n_tokens >= self.n_ctx_slot:
            message = (
                f"the request exceeds the available context size ({self.n_ctx_slot} "
                "tokens), try increasing it"
            )
            reply.error(400, message, "exceed_context_size_error")
        else:
            with self._free_slots:
                self._complete(n_tokens, n_predict, reply, is_image=is_image)

    def _complete(
        self, n_tokens: int, n_predict: int, reply: Reply, *, is_image: bool
    ) -> None:
        try:
            began_s = time.monotonic()
            if is_image:
                self._graph.encode()
            self._read(n_tokens, reply)
            read_s = time.monotonic()
            self._decode(n_predict, reply)
        except DecodeError as error:
            reply.error(500, str(error))
            return
        finally:
            with self._lock:
                self._cells_used -= min(self._cells_used, n_tokens + n_predict)
        decoded_s = time.monotonic()
        if self.factor is not None:
            decoded_s = read_s + n_predict * PACED_TOKEN_S * self.factor
        reply.event(
            {
                "content": "",
                "stop": True,
                "tokens_predicted": n_predict,
                "tokens_evaluated": n_tokens,
                "timings": _timings(
                    n_tokens, read_s - began_s, n_predict, decoded_s - read_s
                ),
            }
        )
        reply.end()

    def _read(self, n_tokens: int, reply: Reply) -> None:
        _say_progress(reply, n_tokens, 0)
        for start in range(0, n_tokens, self._workload.batch):
            n_batch = min(self._workload.batch, n_tokens - start)
            self._take_cells(n_batch)
            self._graph.compute(n_batch)
            time.sleep(BATCH_S)
            _say_progress(reply, n_tokens, start + n_batch)

    def _decode(self, n_predict: int, reply: Reply) -> None:
        for written in range(1, n_predict + 1):
            self._take_cells(1)
            self._graph.compute(1)
            time.sleep(TOKEN_S)
            event = {"content": " a", "tokens": [0], "stop": False}
            reply.event({**event, "tokens_predicted": written})

    def _take_cells(self, count: int) -> None:
        cells = self._workload.n_ctx_seq * self._workload.n_stream
        with self._lock:
            self._cells_used += count
            if self._cells_used > cells:
                self._log.say(
                    "E srv        decode: Context size has been exceeded. off = 0, "
                    "n_batch = 1, ret = 1"
                )
                raise DecodeError("Context size has been exceeded.")


def _image_tokens(prompt: Mapping[str, Any]) -> int:
    """Of a text with one image, a PNG, which is square."""
    (data,) = prompt["multimodal_data"]
    side = int.from_bytes(base64.b64decode(data)[16:20], "big")
    return min((side // TOKEN_SIDE) ** 2, IMAGE_TOKENS_MAX) + 1


def _say_progress(reply: Reply, total: int, processed: int) -> None:
    progress = {"total": total, "cache": 0, "processed": processed, "time_ms": 0}
    reply.event({"content": "", "stop": False, "prompt_progress": progress})


def _timings(prompt_n: int, prompt_s: float, n: int, n_s: float) -> dict[str, Any]:
    return {
        "cache_n": 0,
        "prompt_n": prompt_n,
        "prompt_ms": prompt_s * 1e3,
        "prompt_per_second": prompt_n / prompt_s if prompt_s else None,
        "predicted_n": n,
        "predicted_ms": n_s * 1e3,
        "predicted_per_second": n / n_s if n_s else None,
    }
