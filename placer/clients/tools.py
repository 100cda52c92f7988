"""What each tool reads, with an endpoint filled in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from placer.clients.endpoint import Endpoint

# Of the context, what an answer may take, where a tool wants to be told.
ANSWER_SHARE = 4
# A coding agent's own prompt takes half of it.
LEAST_FOR_AGENTS = 32768
VARIABLES_FOR_MODELS = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingFile:
    """A file that a tool reads.

    Attributes:
        name: what it has to be called.
        place: where the tool looks for it, in words.
        text: what it says.
    """

    name: str
    place: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """All that a tool has to be told.

    Attributes:
        tool: as ``--tool`` spells it.
        title: the tool's name.
        files: what it reads.
        notes: what a person has to know or do.
    """

    tool: str
    title: str
    files: tuple[SettingFile, ...]
    notes: tuple[str, ...] = ()


def setting_of(tool: str, endpoint: Endpoint) -> Setting:
    """The tool's settings for an endpoint.

    Raises:
        InputError: no such tool.
    """
    if tool not in TOOLS:
        raise InputError(f"no tool {tool!r}", hint=f"there are {', '.join(TOOLS)}")
    return TOOLS[tool](endpoint)


def _quoted(text: str) -> str:
    """A text as JSON and YAML have it."""
    return json.dumps(text, ensure_ascii=False)


def _continue(endpoint: Endpoint) -> Setting:
    """Its ``openai`` provider: ``llama.cpp`` is one without chat templates."""
    lines = [
        "name: placer",
        "version: 0.0.1",
        "schema: v1",
        "models:",
        f"  - name: {_quoted(endpoint.title)}",
        "    provider: openai",
        f"    model: {_quoted(endpoint.model)}",
        f"    apiBase: {_quoted(endpoint.openai_url)}",
        f"    apiKey: {_quoted(endpoint.key)}",
        "    roles: [chat, edit, apply]",
    ]
    if endpoint.context is not None:
        lines.append("    defaultCompletionOptions:")
        lines.append(f"      contextLength: {endpoint.context}")
    file = SettingFile(
        name="config.yaml", place="~/.continue/config.yaml", text=_text(lines)
    )
    return Setting(tool="continue", title="Continue", files=(file,))


def _aider(endpoint: Endpoint) -> Setting:
    model, metadata = f"openai/{endpoint.model}", ".aider.model.metadata.json"
    lines = [
        f"model: {_quoted(model)}",
        f"weak-model: {_quoted(model)}",
        f"openai-api-base: {_quoted(endpoint.openai_url)}",
        f"openai-api-key: {_quoted(endpoint.key)}",
    ]
    place = "the root of your repository, or your home folder"
    conf = SettingFile(name=".aider.conf.yml", place=place, text=_text(lines))
    if endpoint.context is None:
        return Setting(tool="aider", title="aider", files=(conf,))
    answer = endpoint.context // ANSWER_SHARE
    known = {
        model: {
            "max_tokens": answer,
            "max_input_tokens": endpoint.context,
            "max_output_tokens": answer,
            "input_cost_per_token": 0.0,
            "output_cost_per_token": 0.0,
            "litellm_provider": "openai",
            "mode": "chat",
        }
    }
    files = (conf, SettingFile(name=metadata, place=place, text=_json(known)))
    return Setting(tool="aider", title="aider", files=files)


def _claude_code(endpoint: Endpoint) -> Setting:
    """Its gateway settings: llama-server speaks ``/v1/messages``.

    A header that changes with every request would make it read each prompt anew.
    """
    env = {
        "ANTHROPIC_BASE_URL": endpoint.base_url,
        "ANTHROPIC_AUTH_TOKEN": endpoint.key,
        **dict.fromkeys(VARIABLES_FOR_MODELS, endpoint.model),
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }
    notes = []
    if endpoint.context is not None:
        env["CLAUDE_CODE_AUTO_COMPACT_WINDOW"] = str(endpoint.context)
        if endpoint.context < LEAST_FOR_AGENTS:
            notes.append(
                f"a request can hold {endpoint.context:,} tokens: Claude Code needs "
                f"{LEAST_FOR_AGENTS:,} and more, so raise CTX_SIZE"
            )
    file = SettingFile(
        name="settings.json",
        place="~/.claude/settings.json, or .claude/settings.local.json of a project",
        text=_json({"env": env}),
    )
    return Setting(
        tool="claude-code", title="Claude Code", files=(file,), notes=tuple(notes)
    )


def _open_webui(endpoint: Endpoint) -> Setting:
    lines = [
        f"OPENAI_API_BASE_URL={endpoint.openai_url}",
        f"OPENAI_API_KEY={endpoint.key}",
        "ENABLE_OLLAMA_API=false",
    ]
    notes = ["it reads these when it is first started; later they are in its settings"]
    if endpoint.is_local:
        notes.append(
            "inside a container this address is the container itself: run it with "
            "--network host, or serve with --host 0.0.0.0 and name the host's address"
        )
    file = SettingFile(
        name="open-webui.env",
        place="docker run --env-file open-webui.env, or your shell",
        text=_text(lines),
    )
    return Setting(
        tool="open-webui", title="Open WebUI", files=(file,), notes=tuple(notes)
    )


def _llm(endpoint: Endpoint) -> Setting:
    lines = [
        f"- model_id: {_quoted(endpoint.model)}",
        f"  model_name: {_quoted(endpoint.model)}",
        f"  api_base: {_quoted(endpoint.openai_url)}",
    ]
    notes: tuple[str, ...] = ()
    if endpoint.is_keyed:
        lines.append("  api_key_name: placer")
        notes = ("the key goes where llm keys set placer puts it",)
    file = SettingFile(
        name="extra-openai-models.yaml",
        place='the folder that dirname "$(llm logs path)" prints',
        text=_text(lines),
    )
    return Setting(tool="llm", title="llm", files=(file,), notes=notes)


PYTHON = """\
from openai import OpenAI

client = OpenAI(base_url={url}, api_key={key})
answer = client.chat.completions.create(
    model={model},
    messages=[{{"role": "user", "content": "Hello!"}}],
)
print(answer.choices[0].message.content)
"""
JAVASCRIPT = """\
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: {url}, apiKey: {key} }});
const answer = await client.chat.completions.create({{
  model: {model},
  messages: [{{ role: "user", content: "Hello!" }}],
}});
console.log(answer.choices[0].message.content);
"""


def _openai(endpoint: Endpoint) -> Setting:
    values = {
        "url": _quoted(endpoint.openai_url),
        "key": _quoted(endpoint.key),
        "model": _quoted(endpoint.model),
    }
    files = (
        SettingFile(
            name="chat.py", place="pip install openai", text=PYTHON.format(**values)
        ),
        SettingFile(
            name="chat.mjs",
            place="npm install openai",
            text=JAVASCRIPT.format(**values),
        ),
    )
    return Setting(tool="openai", title="OpenAI's own clients", files=files)


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


TOOLS: Mapping[str, Callable[[Endpoint], Setting]] = {
    "continue": _continue,
    "aider": _aider,
    "claude-code": _claude_code,
    "open-webui": _open_webui,
    "llm": _llm,
    "openai": _openai,
}
