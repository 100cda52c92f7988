"""llama-perplexity: found, started as the server was, and read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from placer.engine.binary import Engine
from placer.engine.perplexity import find_perplexity, parts_of, perplexities
from placer.errors import MachineError

if TYPE_CHECKING:
    from pathlib import Path

#: As perplexity.cpp prints them: of all parts so far, and at last of the whole.
SAID = """\
perplexity: calculating perplexity over 3 chunks, n_ctx=512, batch_size=2048, n_seq=4
perplexity: 1.20 seconds per pass - ETA 0.05 minutes
[1]4.0000,[2]6.0000,[3]5.0000,
Final estimate: PPL = 5.0000 +/- 0.31000
"""
FAKE = """\
#!/bin/sh
echo "$@" > "$0.args"
cat <<'END'
{said}
END
exit {code}
"""
ARGS = (
    *("-m", "model.gguf", "-c", "4096", "-b", "512", "-ub", "128", "-np", "4", "-kvu"),
    *("-ctk", "q8_0", "-fa", "on", "--jinja", "--no-op-offload", "-ngl", "7"),
    *("-ts", "4,3", "--temp", "0.6", "-ot", "exps=CPU"),
)


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    """An engine that is never started."""
    return Engine(binary=tmp_path / "llama-server", config_home=tmp_path)


def fake(folder: Path, said: str, code: int = 0) -> Path:
    """A program beside the server."""
    program = folder / "llama-perplexity"
    program.write_text(FAKE.format(said=said, code=code))
    program.chmod(0o755)
    return program


def test_parts_multiply_up_to_the_whole() -> None:
    """What is printed is of all so far; the geometric mean of the parts is the last."""
    parts = parts_of(SAID)
    assert parts[0] == pytest.approx(4)
    assert math.prod(parts) ** (1 / 3) == pytest.approx(5)
    assert parts_of(SAID.rpartition("Final")[0]) == ()


def test_it_computes_as_the_server_did(tmp_path: Path, engine: Engine) -> None:
    """With its placement and cache types, over parts of 512 tokens, and no slots."""
    program = fake(tmp_path, SAID)
    text = tmp_path / "text.raw"
    found = perplexities(program, engine, ARGS, text, tmp_path / "ppl.log")
    assert len(found) == 3
    asked = (tmp_path / "llama-perplexity.args").read_text().split()
    assert (
        asked
        == (
            "-m model.gguf -b 512 -ub 128 -ctk q8_0 -fa on --no-op-offload -ngl 7 "
            f"-ts 4,3 -ot exps=CPU -c 512 -fit off -f {text}"
        ).split()
    )


@pytest.mark.parametrize(
    ("said", "code"), [("you need at least 1024 tokens", 0), (SAID, 1), ("", 3)]
)
def test_one_that_fails_is_quoted(
    tmp_path: Path, engine: Engine, said: str, code: int
) -> None:
    """Its last words, its log, and what it may be."""
    program = fake(tmp_path, said, code)
    last = (said.strip().splitlines() or ["nothing"])[-1]
    with pytest.raises(MachineError) as caught:
        perplexities(program, engine, ARGS, tmp_path / "t", tmp_path / "ppl.log")
    assert last in str(caught.value)
    assert "1024 tokens" in str(caught.value)


def test_it_lies_beside_the_server_or_on_path(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one of the same build first."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_perplexity(engine) is None
    (tmp_path / "bin").mkdir()
    on_path = fake(tmp_path / "bin", SAID)
    assert find_perplexity(engine) == on_path
    beside = fake(tmp_path, SAID)
    assert find_perplexity(engine) == beside.resolve()
