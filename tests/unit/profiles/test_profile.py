from __future__ import annotations

from pathlib import Path

import pytest

from placer.errors import InputError
from placer.placement.arguments import flag_values
from placer.profiles import Profile, parse_conf, read_arguments

PATH = Path("models.conf")


def profile(body: str) -> Profile:
    """The only profile of a file with this body."""
    return parse_conf(f"[x]\n{body}\n".encode(), PATH).profiles[0]


def test_every_key_is_read() -> None:
    """A full profile gives each value its type, and the line that it stands on."""
    read = profile(
        "NAME=Big One\nDESCRIPTION=for work\nMODEL=a/b.gguf\nCTX_SIZE=131072\n"
        "N_GPU_LAYERS=99\nFIT=off\nFIT_TARGET=512,1024\nEXTRA_ARGS= -fa on\t-b  512 \n"
        "SPEED=~105 t/s\nICON=*"
    )
    assert (read.id, read.line, read.path) == ("x", 1, PATH)
    assert (read.name, read.description) == ("Big One", "for work")
    assert (read.model, read.ctx_size, read.n_gpu_layers) == ("a/b.gguf", 131072, 99)
    assert (read.fit, read.fit_target, read.speed) == (False, "512,1024", "~105 t/s")
    assert read.extra_args == ("-fa", "on", "-b", "512")
    assert read.other == {"ICON": "*"}
    assert read.lines["MODEL"] == 4
    assert read.lines["ICON"] == 11


def test_what_is_not_said_is_none() -> None:
    """An absent or empty key is not known, and 0 is."""
    empty = profile("CTX_SIZE=\nN_GPU_LAYERS=\nFIT=\nMODEL=")
    assert (empty.ctx_size, empty.n_gpu_layers, empty.fit) == (None, None, None)
    assert (empty.model, empty.name, empty.provenance) == (None, None, None)
    assert profile("CTX_SIZE=0").ctx_size == 0
    assert profile("N_GPU_LAYERS=0").n_gpu_layers == 0


def test_layers_are_counted_as_the_engine_counts() -> None:
    """The words of -ngl are its numbers -1 and -2."""
    assert profile("N_GPU_LAYERS=auto").n_gpu_layers == -1
    assert profile("N_GPU_LAYERS=all").n_gpu_layers == -2


def test_the_last_of_a_key_written_twice_counts() -> None:
    """As in any file of this kind, a later line overrides an earlier one."""
    read = profile("CTX_SIZE=1\nMODEL=m\nCTX_SIZE=2")
    assert read.ctx_size == 2
    assert read.lines["CTX_SIZE"] == 4


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("CTX_SIZE=128K", "'128K' is no context size"),
        ("CTX_SIZE=-1", "'-1' is no context size"),
        ("CTX_SIZE=\u0661", "is no context size"),
        ("CTX_SIZE=" + "9" * 5000, "is no context size"),
        ("N_GPU_LAYERS=many", "'many' is no number of layers"),
        ("FIT=maybe", "'maybe' is neither on nor off"),
    ],
)
def test_a_value_that_the_engine_cannot_read_is_refused(line: str, says: str) -> None:
    """The error names the line and what would do."""
    with pytest.raises(InputError, match=says) as caught:
        profile(f"MODEL=m\n{line}")
    assert caught.value.line == 3
    assert caught.value.hint is not None


def test_the_engine_is_given_the_keys_first() -> None:
    """A flag in EXTRA_ARGS comes after its key and wins."""
    read = profile(
        "CTX_SIZE=4096\nN_GPU_LAYERS=all\nFIT=0\nFIT_TARGET=9\nEXTRA_ARGS=-c 8"
    )
    given = read_arguments(read)
    text = "".join(f"{a.text.strip()} " for a in given)
    assert text == "-c 4096 -ngl all -fit off -fitt 9 -c 8 "
    assert flag_values(given)["-c"] == "8"


def test_a_flag_that_cannot_be_read_is_found_when_it_is_asked_for() -> None:
    """A file with one bad EXTRA_ARGS still lists; the error has its line."""
    read = profile("MODEL=m\nEXTRA_ARGS=-ts")
    with pytest.raises(InputError, match="-ts has no value") as caught:
        read_arguments(read)
    assert caught.value.line == 3


def test_facts_beside_a_commented_out_section_are_not_of_the_section_above() -> None:
    """Placer's comments count only up to the last key of their own section."""
    assert (
        profile("MODEL=m\n\n# [old]\n# placer: engine=b1\n#MODEL=x").provenance is None
    )
    assert profile("# placer: engine=b1\nMODEL=m").provenance == {"engine": "b1"}


def test_facts_do_not_hold_for_a_profile_that_was_edited_since() -> None:
    """Facts whose digest is another, or that have none, are about something else."""
    assert profile("MODEL=m").provenance_holds is None
    assert profile("# placer: values=000000000000\nMODEL=m").provenance_holds is False
    assert profile("# placer: engine=b1\nMODEL=m").provenance_holds is False
