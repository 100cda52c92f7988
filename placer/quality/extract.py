"""The program in an answer: what models write around code is cut away."""

from __future__ import annotations

import ast
import re
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.quality.problem import Problem

# Thoughts that a server leaves in the text, as models open and close them.
THOUGHT_BEGINS = re.compile(r"<think>|<thinking>|<seed:think>|\[THINK\]")
THOUGHT_ENDS = re.compile(r"</think>|</thinking>|</seed:think>|\[/THINK\]")
FENCE = re.compile(r"(?P<before>.*?)(?P<fence>`{3,}|~{3,})[ \t]*(?P<tag>[^\s`]*)[ \t]*")
FUTURE = re.compile(r"^from __future__ import .*\n?", re.MULTILINE)
TAB = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """What stands between two fences, or behind one that is never closed."""

    code: str
    is_closed: bool


def program_of(problem: Problem, text: str) -> str | None:
    """The program of an answer, with what the prompt gives; None where it has none.

    Thoughts do not count; an answer that is still thinking when it ends has no code.
    Of several blocks it is the last whole one that defines what was asked for, else
    the last that continues the prompt, else the longest. Without blocks it is the text
    itself, or that part of it.
    """
    said = _without_thoughts(text.replace("\r\n", "\n"))
    blocks = list(_blocks(said))
    if problem.entry_point is None:
        return _whole_program(said, blocks)
    codes = [b.code for b in blocks] or [said]
    defining = [c for c in codes if _defines(c, problem.entry_point)]
    if defining:
        return _with_preamble(problem, defining[-1])
    continuing = [c for code in codes for c in _continuations(problem, code)]
    if continuing:
        return continuing[-1]
    if blocks:
        return _with_preamble(problem, max(codes, key=len))
    return _in_prose(problem, said)


def begins(problem: Problem) -> bool:
    """Whether the prompt has the beginning of the function, not words alone."""
    return _head(problem) is not None


def preamble(problem: Problem) -> str:
    """What the prompt has above the function to write: imports, helpers."""
    head = _head(problem)
    return "" if head is None else problem.prompt[: head.start()]


def _head(problem: Problem) -> re.Match[str] | None:
    return _head_of(problem.entry_point or "").search(problem.prompt)


def _without_thoughts(text: str) -> str:
    ends = list(THOUGHT_ENDS.finditer(text))
    spoken = text[ends[-1].end() :] if ends else text
    begins = THOUGHT_BEGINS.search(spoken)
    return spoken if begins is None else spoken[: begins.start()]


def _blocks(text: str) -> Iterator[Block]:
    """All blocks; the fence of one may stand at the end of a line of prose."""
    lines: list[str] | None = None
    fence = ""
    for line in text.split("\n"):
        found = FENCE.fullmatch(line)
        if lines is None:
            if found is not None:
                lines, fence = [], found["fence"]
        elif found is not None and _closes(found, fence):
            yield Block(code=_block_text(lines), is_closed=True)
            lines = None
        else:
            lines.append(line)
    if lines is not None:
        yield Block(code=_block_text(lines), is_closed=False)


def _closes(found: re.Match[str], fence: str) -> bool:
    is_bare = not found["tag"] and not found["before"].strip()
    return is_bare and found["fence"].startswith(fence)


def _block_text(lines: list[str]) -> str:
    """In a list, blocks are indented; a body that continues a function stays so."""
    text = "\n".join(lines) + "\n"
    dedented = textwrap.dedent(text)
    return dedented if _tree(dedented) is not None and _is_program(dedented) else text


def _is_program(code: str) -> bool:
    """Whether it stands for itself: a body would return from nowhere."""
    tree = _tree(code)
    return tree is not None and any(
        isinstance(node, ast.FunctionDef | ast.ClassDef) for node in tree.body
    )


def _whole_program(said: str, blocks: list[Block]) -> str | None:
    """The last block that is closed, as benchmarks of whole programs have it."""
    closed = [b.code for b in blocks if b.is_closed]
    if closed or blocks:
        return (closed or [b.code for b in blocks])[-1]
    tree = _tree(said)
    is_prose = tree is None or all(isinstance(n, ast.Expr) for n in tree.body)
    return None if is_prose else said


def _tree(code: str) -> ast.Module | None:
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(code: str, name: str) -> bool:
    """Whether it is whole, and has a function or a value of the name."""
    tree = _tree(code)
    return tree is not None and any(name in _names(node) for node in tree.body)


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {t.id for t in node.targets if isinstance(t, ast.Name)}
    return set()


def _with_preamble(problem: Problem, code: str) -> str:
    """A function, with what the prompt has above it; futures come first."""
    program = f"{preamble(problem)}{code}"
    futures = "".join(f"{one.strip()}\n" for one in FUTURE.findall(program))
    return futures + FUTURE.sub("", program)


def _continuations(problem: Problem, code: str) -> Iterator[str]:
    """The prompt and a body, however that is indented; only the first that is whole."""
    if not code.strip() or not begins(problem):
        return
    spaced = code.expandtabs(TAB)
    ways = [code, spaced]
    tree = _tree(code)
    if tree is not None and any(isinstance(n, ast.Return) for n in ast.walk(tree)):
        ways.append(textwrap.indent(spaced, " " * TAB))
    for body in ways:
        program = f"{problem.prompt.rstrip()}\n{body}"
        if body.lstrip("\n")[:1] in (" ", "\t") and _tree(program) is not None:
            yield program
            return


def _in_prose(problem: Problem, said: str) -> str | None:
    """Code that nothing marks: from the function on, while it is whole."""
    if not said.strip():
        return None
    if begins(problem) and said.lstrip("\n")[:1] in (" ", "\t"):
        return f"{problem.prompt.rstrip()}\n{said}"
    head = _head_of(problem.entry_point or "").search(said)
    if head is None:
        return None
    lines = said[_imports_above(said, head.start()) :].split("\n")
    for end in range(len(lines), 0, -1):
        code = "\n".join(lines[:end]) + "\n"
        if _defines(code, problem.entry_point or ""):
            return _with_preamble(problem, code)
    return _with_preamble(problem, "\n".join(lines))


def _imports_above(said: str, at: int) -> int:
    """Where the imports begin that stand right above a place."""
    start = at
    for line in reversed(said[:at].splitlines(keepends=True)):
        if line.strip() and not line.startswith(("import ", "from ", "@")):
            break
        start -= len(line)
    return start


def _head_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"^(async +)?def +{re.escape(name)}\b", re.MULTILINE)
