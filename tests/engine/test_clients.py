"""A served profile, asked with what placer writes for its clients."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from placer.app import Where
from placer.app.clients import Clients, check, clients, write_setting
from placer.app.serving import ServeOptions, serve
from placer.clients import KEY
from placer.engine.chat import ask_chat
from placer.serve import StateFolder
from placer.serve.alive import end
from placer.testing import models

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

SECRET = "sk-tiny"  # noqa: S105 - of a server that lives for these tests
WITHIN_S = 120
#: The likeliest token is always the same one: what a model of noise might draw at
#: random is not always text.
CONF = f"""\
[tiny]
MODEL=tiny.gguf
CTX_SIZE=512
N_GPU_LAYERS=99
EXTRA_ARGS=-b 64 -ub 32 -np 1 --no-warmup --temp 0 --alias small --api-key {SECRET}
"""


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's client would ask one of the user's."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def found(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """What clients are told of a profile that is served."""
    folder = tmp_path_factory.mktemp("clients")
    models.write_llama(folder / "tiny.gguf", n_layer=2, n_vocab=1024)
    (folder / "models.conf").write_text(CONF)
    where = Where(
        server=engine, emulate=(60,), conf=folder / "models.conf", models=folder
    )
    state = StateFolder(folder / "state")
    serve("tiny", where, ServeOptions(port=0), state=state)
    try:
        yield clients("tiny", where, state=state)
    finally:
        end("tiny", state)


def test_the_server_answers_in_both_ways_that_tools_ask(found: Clients) -> None:
    """By the name that it reports itself, and with its key."""
    assert found.is_running
    assert found.endpoint.model == "small"
    for answer in check(found):
        assert answer.ok, answer.detail
        assert answer.detail


def test_a_server_of_one_model_takes_any_name_for_it(found: Clients) -> None:
    """So a profile's may stand where the server would say a path."""
    answer = ask_chat(found.endpoint.base_url, "any", found.key)

    assert answer.ok, answer.detail


def test_without_its_key_it_does_not_answer(found: Clients) -> None:
    """And that is said."""
    answer = ask_chat(found.endpoint.base_url, found.endpoint.model)

    assert not answer.ok
    assert "HTTP 401" in answer.detail


def test_openais_own_client_talks_to_it(found: Clients) -> None:
    """It lists the model, and answers whole and in pieces."""
    from openai import OpenAI

    url = found.endpoint.openai_url
    with OpenAI(base_url=url, api_key=found.key) as client:
        model = found.endpoint.model
        assert [one.id for one in client.models.list().data] == [model]
        whole = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "a"}],
            max_tokens=4,
        )
        assert whole.choices[0].message.content
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 4
        pieces = client.chat.completions.create(
            model=model,
            messages=[{"role": "user", "content": "a"}],
            max_tokens=4,
            stream=True,
        )
        text = "".join(piece.choices[0].delta.content or "" for piece in pieces)
        assert text


def test_the_program_that_is_written_runs(found: Clients, tmp_path: Path) -> None:
    """Once the key stands where it says so."""
    setting = next(one for one in found.settings if one.tool == "openai")
    python = write_setting(setting, tmp_path)[0]
    text = python.read_text().replace(KEY, SECRET)
    python.write_text(text.replace("messages=[", "max_tokens=4, messages=["))
    ran = subprocess.run(
        [sys.executable, str(python)],
        capture_output=True,
        check=True,
        timeout=WITHIN_S,
    )

    assert ran.stdout.strip()


def test_what_claude_code_is_told_is_where_messages_are_answered(
    found: Clients,
) -> None:
    """Streamed, as it asks for them, with its own way to send the key."""
    setting = next(one for one in found.settings if one.tool == "claude-code")
    env = json.loads(setting.files[0].text)["env"]
    body = {
        "model": env["ANTHROPIC_MODEL"],
        "max_tokens": 4,
        "stream": True,
        "messages": [{"role": "user", "content": "a"}],
    }
    token = env["ANTHROPIC_AUTH_TOKEN"].replace(KEY, SECRET)
    headers = {"Authorization": f"Bearer {token}"}
    answers = []
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        # A client each: after a stream the server lets go of the connection.
        with httpx.Client(base_url=env["ANTHROPIC_BASE_URL"], trust_env=False) as http:
            answers.append(
                http.post(path, json=body, headers=headers, timeout=WITHIN_S)
            )

    assert "event: message_stop" in answers[0].text
    assert answers[1].json()["input_tokens"] > 0
