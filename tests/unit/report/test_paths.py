from __future__ import annotations

import pytest

from placer.report.paths import without_folders


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("/home/jo/src/ggml-cuda.cu:98: CUDA error", "ggml-cuda.cu:98: CUDA error"),
        ("loading model '/home/jo/my models/m.gguf'", "loading model 'm.gguf'"),
        ('no such file: "/srv/m.gguf", exiting', 'no such file: "m.gguf", exiting'),
        ("at ~/m.gguf, ~jo/x and file:///srv/y", "at m.gguf, x and y"),
        ("--lora=/srv/a/b.gguf (path:/srv/c.txt)", "--lora=b.gguf (path:c.txt)"),
        ("in folder /srv/models/", "in folder models"),
    ],
)
def test_an_absolute_path_keeps_its_base_name(text: str, stripped: str) -> None:
    """Whatever stands around it stays."""
    assert without_folders(text) == stripped


@pytest.mark.parametrize(
    "text",
    [
        "splits = 9 / 33",
        "12 MiB/s, n/a, 3/4",
        "token 2 '</s>'",
        "https://example.org/a/b",
        "./models/m.gguf ../m.gguf",
        r"blk\.([0-9]|1[0-2])\.ffn_(up|down)_exps=CPU",
        "alone: /",
        "//",
        "",
    ],
)
def test_other_slashes_stay(text: str) -> None:
    """Fractions, units, addresses, relative paths and regexes are no paths."""
    assert without_folders(text) == text


def test_the_models_own_folder_may_hold_spaces() -> None:
    """A path among the flags is known whole, its other shards' folder too."""
    args = ["-m", "/my models/big one/m-00001-of-00002.gguf"]
    text = "cannot open /my models/big one/m-00002-of-00002.gguf: gone"
    assert without_folders(text, args) == "cannot open m-00002-of-00002.gguf: gone"


def test_a_known_folder_is_not_cut_out_of_another() -> None:
    """``/data/`` is no part of ``/srv/data/``, and ``/`` no folder to cut."""
    args = ["-m", "/data/m.gguf", "--lora", "/l.gguf"]
    assert without_folders("in /srv/data/ 1/2", args) == "in data 1/2"


def test_the_deepest_known_folder_is_cut() -> None:
    """A folder in a known folder leaves nothing of its name behind."""
    args = ["-m", "/a b/m.gguf", "--lora", "/a b/c d/l.gguf"]
    assert without_folders("no /a b/c d/l.gguf", args) == "no l.gguf"
