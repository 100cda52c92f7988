from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from placer.clients import KEY, TOOLS, Endpoint, setting_of
from placer.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
ENDPOINT = Endpoint(
    base_url="http://127.0.0.1:8080",
    model="glm-q4",
    title="GLM-4.7 Flash Q4",
    context=131072,
)
KEYED = Endpoint(
    base_url="https://server:8443/llm",
    model='odd "name"',
    title="An odd: name",
    is_keyed=True,
)


@pytest.mark.parametrize("tool", TOOLS)
def test_each_tool_gets_its_files_byte_for_byte(tool: str) -> None:
    """As they were read against the tool's documentation."""
    setting = setting_of(tool, ENDPOINT)

    assert setting.tool == tool
    for file in setting.files:
        assert file.text == (GOLDEN / tool / f"{file.name}.txt").read_text(
            encoding="utf-8"
        )


@pytest.mark.parametrize("tool", TOOLS)
def test_a_key_is_never_printed_and_always_has_a_place(tool: str) -> None:
    """A server that asks for none is given a word that is none."""
    keyed, free = setting_of(tool, KEYED), setting_of(tool, ENDPOINT)
    texts = ["".join(file.text for file in one.files) for one in (keyed, free)]

    assert (KEY in texts[0]) != (tool == "llm")
    assert KEY not in texts[1]
    assert "https://server:8443/llm" in texts[0]


@pytest.mark.parametrize("tool", ["continue", "aider", "llm"])
def test_what_is_yaml_is_yaml_whatever_the_names(tool: str) -> None:
    """Names may hold quotes and colons."""
    yaml = pytest.importorskip("yaml")
    for endpoint in (ENDPOINT, KEYED):
        text = setting_of(tool, endpoint).files[0].text
        read = json.dumps(yaml.safe_load(text))
        assert json.dumps(endpoint.model)[1:-1] in read
        assert endpoint.openai_url in read


def test_what_is_json_or_python_is_that_whatever_the_names() -> None:
    """Names may hold quotes."""
    env = json.loads(setting_of("claude-code", KEYED).files[0].text)["env"]
    python = setting_of("openai", KEYED).files[0].text

    assert env["ANTHROPIC_MODEL"] == KEYED.model
    assert env["ANTHROPIC_BASE_URL"] == KEYED.base_url
    assert ast.parse(python)


def test_a_context_that_nobody_knows_is_not_written() -> None:
    """No tool is told a number that was made up."""
    assert len(setting_of("aider", KEYED).files) == 1
    assert "contextLength" not in setting_of("continue", KEYED).files[0].text
    assert "COMPACT" not in setting_of("claude-code", KEYED).files[0].text


def test_a_context_that_is_too_short_for_an_agent_is_said() -> None:
    """Its own prompt alone takes most of it."""
    short = Endpoint(base_url="http://a", model="m", title="m", context=10240)

    assert "10,240 tokens" in setting_of("claude-code", short).notes[0]
    assert setting_of("claude-code", ENDPOINT).notes == ()


def test_a_container_is_told_that_this_host_is_not_it() -> None:
    """Where the address is the loopback's."""
    notes = [setting_of("open-webui", one).notes for one in (ENDPOINT, KEYED)]

    assert [len(one) for one in notes] == [2, 1]


def test_another_tool_is_an_input_error() -> None:
    """It names those that there are."""
    with pytest.raises(InputError, match="continue, aider"):
        setting_of("emacs", ENDPOINT)
