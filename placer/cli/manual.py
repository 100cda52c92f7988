"""The manual of the command, as a page: every verb, argument, option and exit code.

It is made of what ``--help`` is made of, in a form of its own: what click prints is not
the same in all of its versions.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import click

from placer.report.table import code, code_cell, plain, table, text_columns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HEAD = """\
# The command

Every verb with its arguments and options. Made by `scripts/docs` of what `placer VERB
--help` is made of: what is changed here by hand is lost with the next one.
"""
GENERAL = """\
`placer --version` and `placer --help` stand before the verbs, and so does `--debug`,
which shows the traceback of an error. Every verb takes `-h` and `--help`. Placement and
workload are spelt as llama-server spells them."""
EXIT_CODES = {
    "0": "done",
    "1": "a fault of placer's own: run it with `--debug`, and report what it says",
    "2": "bad input: a flag, a profile, a GGUF, a file",
    "3": "machine or engine: no device, no llama-server, a port that is taken",
    "4": "it does not fit, or a search had to stop before its answer",
    "5": "a journal is damaged",
    "130": "interrupted by Ctrl-C",
    "141": "whoever read the output went away",
}
VARIABLES = {
    "PLACER_LLAMA_SERVER": "the llama-server to use, where `--server` names none",
    "PLACER_DOCKER_IMAGE": "the image to run it in, where `--docker` names none",
    "PLACER_CONF": "the profile file, where `--conf` names none",
    "PLACER_MODELS_DIR": "the models folder, where `--models-dir` names none",
    "PLACER_LEDGER": "what was learned so far, where `--ledger` names none",
    "PLACER_STATE": "the folder that remembers which servers are running",
    "PLACER_SANDBOX_IMAGE": "the image whose containers run generated code",
    "PLACER_CACHE": "the folder of what is built once: the layer of emulated GPUs",
}
OPTIONS = text_columns("option", "value", "what it does", "default")
# What a verb's help gives as its default in words: "[$PLACER_CONF, models.conf]".
SAID_DEFAULT = re.compile(r"\s*\[([^]]+)\]$")
VERBATIM = "\b"
# A line that ends in a backslash goes on in the next.
CONTINUED = re.compile(r"\s*\\\n\s*")
FENCE = "```"


def manual(command: click.Group) -> str:
    """The page, which ends in a line break."""
    verbs = list(_verbs(command, ("placer",)))
    blocks = [HEAD.rstrip(), _contents(verbs), GENERAL]
    for path, verb in verbs:
        blocks += _verb_blocks(path, verb)
    blocks += ["## Exit codes", _pairs("code", EXIT_CODES)]
    blocks += ["## Environment", _pairs("variable", VARIABLES)]
    return "\n\n".join(blocks) + "\n"


def examples(command: click.Group) -> tuple[str, ...]:
    """Every command line that the verbs' help gives as an example."""
    return tuple(
        line.strip()
        for _, verb in _verbs(command, ("placer",))
        for block in _paragraphs(verb)
        if block.startswith(VERBATIM)
        for line in CONTINUED.sub(" ", block).splitlines()
        if line.strip().startswith("placer ")
    )


def _verbs(
    group: click.Group, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every verb that can be run, those of groups within groups too."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _verbs(command, (*path, name))
        elif not command.hidden:
            yield (*path, name), command


def _contents(verbs: Sequence[tuple[tuple[str, ...], click.Command]]) -> str:
    rows = []
    for path, verb in verbs:
        anchor = "-".join(path)
        what = next(iter(_paragraphs(verb)), "")
        rows.append([f"[{code_cell(' '.join(path[1:]))}](#{anchor})", plain(what)])
    return table(text_columns("verb", "what it does"), rows)


def _verb_blocks(path: tuple[str, ...], verb: click.Command) -> Iterator[str]:
    yield f"## {' '.join(path)}"
    arguments = [p for p in verb.params if isinstance(p, click.Argument)]
    flags = [p for p in verb.params if isinstance(p, click.Option) and not p.hidden]
    line = [*path, *(["[OPTIONS]"] if flags else []), *map(_metavar, arguments)]
    yield f"{FENCE}text\n{' '.join(line)}\n{FENCE}"
    for paragraph in _paragraphs(verb):
        yield from _paragraph_blocks(paragraph)
    if flags:
        yield table(OPTIONS, [_option_cells(option) for option in flags])


def _paragraphs(verb: click.Command) -> Iterator[str]:
    """Of the help, those to be kept as they are behind their mark."""
    for block in re.split(r"\n\s*\n", (verb.help or "").strip()):
        mark, _, rest = block.partition("\n")
        if mark.strip(" ") == VERBATIM:
            yield f"{VERBATIM}{rest}"
        else:
            yield " ".join(block.split())


def _paragraph_blocks(paragraph: str) -> Iterator[str]:
    if not paragraph.startswith(VERBATIM):
        yield plain(paragraph)
        return
    title, _, body = paragraph.removeprefix(VERBATIM).partition("\n")
    yield title.strip()
    body = dedent(body).rstrip()
    yield f"{FENCE}sh\n{body}\n{FENCE}"


def _metavar(argument: click.Argument) -> str:
    """As ``--help`` names it."""
    if argument.metavar is not None:
        return argument.metavar
    name = _value_text(argument) or str(argument.name).upper()
    if isinstance(argument.type, click.Choice):
        name = f"{{{name}}}"
    dots = "..." if argument.nargs != 1 else ""
    return f"{name}{dots}" if argument.required else f"[{name}]{dots}"


def _option_cells(option: click.Option) -> list[str]:
    said = SAID_DEFAULT.search(option.help or "")
    default = said[1] if said else _default_text(option)
    text = SAID_DEFAULT.sub("", option.help or "")
    if option.multiple and "repeat" not in text:
        text += " It can be given more than once."
    return [
        ", ".join(map(code_cell, _names(option))),
        plain(_value_text(option)),
        plain(text),
        plain(default),
    ]


def _names(option: click.Option) -> Iterator[str]:
    """Short before long; those that switch it off behind those that switch it on."""
    for names in (option.opts, option.secondary_opts):
        yield from sorted(names, key=lambda name: name.startswith("--"))


def _value_text(parameter: click.Parameter) -> str:
    """What stands behind its name; nothing where it is a switch."""
    if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count):
        return ""
    if parameter.metavar is not None:
        return parameter.metavar
    kind: Any = parameter.type
    if isinstance(kind, click.Choice):
        return "|".join(map(str, kind.choices))
    if isinstance(kind, click.types.IntRange | click.types.FloatRange):
        return f"{_type_word(kind)} {_range_text(kind)}".rstrip()
    if isinstance(parameter, click.Argument):
        return ""
    return _type_word(kind)


def _range_text(kind: Any) -> str:
    if kind.min is None:
        return "" if kind.max is None else f"up to {kind.max}"
    return f"from {kind.min}" + ("" if kind.max is None else f" to {kind.max}")


def _type_word(kind: Any) -> str:
    """The type in a word; a type of our own has a name that says it."""
    words = (
        (click.types.IntParamType, "N"),
        (click.types.FloatParamType, "number"),
        (click.Path, "path"),
        (click.types.StringParamType, "text"),
    )
    return next((word for known, word in words if isinstance(kind, known)), kind.name)


def _default_text(option: click.Option) -> str:
    if not option.show_default:
        return ""
    if isinstance(option.show_default, str):
        return option.show_default
    default = option.default
    return "" if default is None or callable(default) else str(default)


def _pairs(title: str, pairs: dict[str, str]) -> str:
    """A table of names and what they mean."""
    rows = [[code(name), text] for name, text in pairs.items()]
    return table(text_columns(title, "meaning"), rows)
