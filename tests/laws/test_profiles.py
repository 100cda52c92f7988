"""What holds for every models.conf and every edit of it."""

from __future__ import annotations

import re
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from placer.errors import InputError
from placer.placement.arguments import flag_values, parse_arguments, unread_tokens
from placer.profiles import (
    Edit,
    parse_conf,
    read_arguments,
    read_conf,
    undo,
    write_conf,
)
from placer.profiles.provenance import fact_lines, read_facts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATH = Path("models.conf")
OWNED = (b"CTX_SIZE", b"N_GPU_LAYERS", b"FIT", b"FIT_TARGET", b"EXTRA_ARGS", b"SPEED")
PLACERS = re.compile(
    rb"# (?:placer: [a-z]+=.*|[0-9-]{10} placer: was (?:[A-Z_]+)[ \t]*=.*)", re.DOTALL
)

ends = st.sampled_from([b"\n", b"\n", b"\r\n"])
blanks = st.sampled_from([b"", b"", b" ", b"\t", b"  "])
weird = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"").strip(b" \t\r"))
comments = st.one_of(
    weird.map(lambda raw: b"#" + raw),
    st.sampled_from(
        [
            b"# tried 13+6: died on the first prompt",
            b"# [old-profile]",
            b"#[glm-q4]",
            b"#EXTRA_ARGS=-ot blk\\.1[9]\\.=CUDA0,exps=CPU",
            b"# placer: this one was too slow for me",
            b"  # indented, with \xff and \xc3\xbc",
            b"## placer: engine=b1",
            b"",
            b" \t",
        ]
    ),
)
tokens = st.sampled_from(
    [b"--jinja", b"--temp", b"0.7", b"--x\xff", b"[a-z]*", b"caf\xc3\xa9", b"--no-mmap"]
)
pairs = st.sampled_from(
    [
        b"-b 4096",
        b"--ubatch-size  1024",
        b"-c 99 --ctx_size 98",
        b"-ngl\t7",
        b"-ts 3,1",
        b"-ot blk\\.(1[0-9]|2[01])\\.=CUDA0",
        b"--override-tensor exps=CPU",
        b"--cpu-moe",
        b"-ncmoe 4",
        b"--split-mode none --main-gpu 0",
        b"-fa on",
        b"-nkvo",
        b"--fit on",
        b"-dev CUDA1,CUDA0",
    ]
)
extra_args = st.lists(st.one_of(tokens, pairs), max_size=7).map(b" ".join)
values = {
    b"NAME": weird,
    b"ICON": weird,
    b"FIT_TARGET": st.sampled_from([b"", b"512", b"512,1024"]),
    b"SPEED": weird,
    b"CTX_SIZE": st.sampled_from([b"", b"4096", b"131072"]),
    b"N_GPU_LAYERS": st.sampled_from([b"99", b"auto", b"-2", b"0", b""]),
    b"FIT": st.sampled_from([b"on", b"off", b"0", b""]),
    b"EXTRA_ARGS": extra_args,
}


@st.composite
def key_lines(draw: st.DrawFn) -> bytes:
    """A line KEY=VALUE with blanks anywhere."""
    key = draw(st.sampled_from([*sorted(values), *[b"EXTRA_ARGS"] * 4]))
    parts = [draw(blanks), key, draw(blanks), b"=", draw(blanks)]
    return b"".join([*parts, draw(values[key]), draw(blanks)])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A models.conf as people leave it; [x] is in it and has a MODEL."""
    lines = draw(st.lists(comments, max_size=2))
    ids = draw(st.permutations([b"x", *draw(st.sets(st.just(b"y"))), b"z-1"]))
    for name in ids:
        body = [b"MODEL=m.gguf", *draw(st.lists(key_lines(), max_size=6))]
        body = draw(st.permutations([*body, *draw(st.lists(comments, max_size=5))]))
        lines += [b"[" + name + b"]", *body]
    data = b"".join(line + draw(ends) for line in lines)
    if draw(st.booleans()):
        data = data.rstrip(b"\r\n")
    return draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + data


placements = st.sampled_from(
    [
        (),
        ("-ngl", "48", "-ts", "33,15"),
        ("-ngl", "48", "-ts", "33,15", "-ot", "blk\\.(3|4)\\.ffn_up_exps=CPU,b=CUDA0"),
        ("-ngl", "99", "-sm", "none", "-mg", "0"),
        ("-ngl", "auto", "-fit", "on"),
        ("-ot", "exps=CPU", "-ncmoe", "3"),
    ]
)
workloads = st.sampled_from([(), ("-b", "512", "-ub", "512"), ("-c", "8", "-np", "1")])
facts = st.dictionaries(
    st.from_regex(r"[a-z]{1,5}", fullmatch=True).filter(lambda name: name != "values"),
    st.text(max_size=20),
    min_size=1,
    max_size=3,
)
edits = st.builds(
    Edit,
    on=st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    fit_target=st.none() | st.just("512"),
    speed=st.none() | st.sampled_from(["105 t/s", "~3"]),
    placement=st.none() | placements,
    workload=workloads,
    provenance=st.none() | facts,
)


def split(data: bytes) -> list[bytes]:
    """The lines of a file with their ends."""
    return re.findall(rb"[^\n]*\n|[^\n]+\Z", data)


def foreign(data: bytes) -> list[bytes]:
    """The lines that no edit of [x] may touch, with their ends."""
    lines = split(data)
    header = next(
        i
        for i, line in enumerate(lines)
        if line.strip(b"\xef\xbb\xbf \t\r\n") == b"[x]"
    )
    stop = next(
        (i for i in range(header + 1, len(lines)) if lines[i].startswith(b"[")),
        len(lines),
    )
    last = {
        line.partition(b"=")[0].strip(): index
        for index, line in enumerate(lines[:stop])
        if index > header and not line.lstrip(b" \t").startswith(b"#") and b"=" in line
    }
    own = {last[key] for key in OWNED if key in last}
    own |= {
        i
        for i in range(header, max(last.values()))
        if PLACERS.fullmatch(lines[i].strip(b"\r\n"))
    }
    return [line for index, line in enumerate(lines) if index not in own]


def done_or_refused(act: Callable[..., object], *args: object) -> None:
    """Nothing but an InputError comes out of it, and that can be printed."""
    try:
        act(*args)
    except InputError as error:
        str(error).encode("utf-8")


def read_and_edit(data: bytes) -> None:
    """Read a file, and understand and edit each of its profiles."""
    conf = parse_conf(data, PATH)
    assert conf.data == data
    edit = Edit(on=date(2026, 11, 23), placement=("-ngl", "4"), speed="5")
    for profile in conf.profiles:
        done_or_refused(read_arguments, profile)
        done_or_refused(conf.updated, profile.id, edit)


@given(files(), st.lists(edits, min_size=1, max_size=3))
def test_an_edit_leaves_every_byte_that_it_does_not_own(
    data: bytes, series: Sequence[Edit]
) -> None:
    """Comments, order, line ends, other keys and other sections come back as is."""
    conf = parse_conf(data, PATH)
    assert conf.data == data
    for edit in series:
        conf = conf.updated("x", edit)
    before, after = foreign(data), foreign(conf.data)
    assert [line.rstrip(b"\r\n") for line in after] == [
        line.rstrip(b"\r\n") for line in before
    ]
    assert all(
        old == new or not old.endswith(b"\n")
        for old, new in zip(before, after, strict=True)
    )
    assert conf.data.endswith(b"\n") == data.endswith(b"\n")
    assert conf.original == data


@given(files(), edits)
def test_an_edit_is_read_back(data: bytes, edit: Edit) -> None:
    """The edited profile says what the edit says, and the others what they said."""
    before = parse_conf(data, PATH)
    after = before.updated("x", edit)
    profile = after.profile("x")
    flags = flag_values(read_arguments(profile))
    asked = flag_values(
        parse_arguments(" ".join((edit.placement or ()) + edit.workload))
    )
    assert asked.items() <= flags.items()
    if edit.placement is not None:
        silent = {"-ts", "-ot", "-sm", "-mg", "-dev", "-cmoe", "-ncmoe"} - set(asked)
        assert silent.isdisjoint(flags)
    assert edit.speed in {None, profile.speed}
    assert edit.fit_target in {None, profile.fit_target}
    if edit.provenance is not None:
        assert profile.provenance is not None
        assert edit.provenance.items() <= profile.provenance.items()
        assert profile.provenance_holds is True
    old = [p.extra_args for p in before.profiles if p.id != "x"]
    assert [p.extra_args for p in after.profiles if p.id != "x"] == old


@given(files(), edits)
def test_other_tokens_of_extra_args_stay(data: bytes, edit: Edit) -> None:
    """What placer does not read it keeps, byte for byte and in its order."""
    before = parse_conf(data, PATH)
    after = before.updated("x", edit)
    kept = unread_tokens(read_arguments(before.profile("x")))
    assert unread_tokens(read_arguments(after.profile("x"))) == kept


@given(files(), edits)
def test_the_same_edit_again_changes_nothing(data: bytes, edit: Edit) -> None:
    """An edit is idempotent."""
    once = parse_conf(data, PATH).updated("x", edit)
    assert once.updated("x", edit).data == once.data


@given(
    st.one_of(
        st.binary(),
        st.lists(
            st.one_of(st.binary(max_size=20), key_lines(), comments, st.just(b"[x]"))
        ).map(b"\n".join),
        st.builds(
            lambda data, at, junk: data[:at] + junk + data[at + len(junk) :],
            files(),
            st.integers(0, 200),
            st.binary(max_size=4),
        ),
    )
)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No exception but InputError leaves the reader, and what is read is whole."""
    done_or_refused(read_and_edit, data)


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z][\w.-]{0,9}", fullmatch=True), st.text())
)
def test_facts_survive_their_comments(facts: dict[str, str]) -> None:
    """Whatever is known can be written into a comment and read back."""
    ascii_names = {name: text for name, text in facts.items() if name.isascii()}
    assert (read_facts(fact_lines(ascii_names)) or {}) == ascii_names


printable = st.text(max_size=12).filter(
    lambda text: text.isprintable() and "placer" not in text
)
new_values = st.fixed_dictionaries(
    {"MODEL": st.sampled_from(["m.gguf", "a b/m.gguf", "[x]", "#m", "="])},
    optional={
        "NAME": printable.map(str.strip),
        "CTX_SIZE": st.just("4096"),
        "N_GPU_LAYERS": st.just("auto"),
        "FIT": st.just("on"),
        "EXTRA_ARGS": st.sampled_from(["", "-b 512", "-fa on -ot a=CPU"]),
    },
)


@settings(max_examples=50)
@given(files(), new_values, st.lists(printable, max_size=2), edits)
def test_a_new_profile_stands_behind_every_byte(
    data: bytes, values: dict[str, str], above: list[str], edit: Edit
) -> None:
    """What was there is a prefix; the new one is read back, and is edited alone."""
    before = parse_conf(data, PATH)
    after = before.added("new", values, above)
    assert after.data.startswith(data)
    assert after.data.endswith(b"\n")
    old = {profile.id: profile for profile in before.profiles}
    assert {p.id: p for p in after.profiles if p.id != "new"} == old
    profile = after.profile("new")
    assert profile.provenance is None
    assert (profile.model, profile.name) == (values["MODEL"], values.get("NAME"))
    assert profile.extra_args == tuple(values.get("EXTRA_ARGS", "").split())
    assert after.updated("new", edit).data.startswith(data)


@settings(max_examples=25)  # each writes and syncs files
@given(files(), st.lists(edits, min_size=1, max_size=3))
def test_undo_restores_the_bytes_before_each_write(
    data: bytes, series: Sequence[Edit]
) -> None:
    """As many undos as there were writes lead back to the first byte."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "models.conf"
        path.write_bytes(data)
        states = [data]
        for edit in series:
            state = write_conf(read_conf(path).updated("x", edit), path).data
            assert path.read_bytes() == state
            if state != states[-1]:
                states.append(state)
        for state in reversed(states[:-1]):
            assert undo(path).data == state == path.read_bytes()
