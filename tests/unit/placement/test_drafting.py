from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.placement.arguments import flag_values, parse_arguments
from placer.placement.drafting import drafted_tokens, kept_states, spec_types


@pytest.mark.parametrize(
    ("text", "kinds", "drafted", "kept"),
    [
        ("", set(), 0, 0),
        ("--spec-type none", set(), 0, 0),
        ("-md draft.gguf --spec-draft-n-max 8", set(), 0, 0),
        ("--spec-type draft-simple", {"draft-simple"}, 3, 0),
        ("--spec-type draft-mtp", {"draft-mtp"}, 3, 3),
        ("--spec-type draft-eagle3 --spec-draft-n-max 5", {"draft-eagle3"}, 5, 5),
        ("--spec-type ngram-mod", {"ngram-mod"}, 64, 0),
        ("--spec-default", {"ngram-mod"}, 64, 0),
        ("--spec-type ngram-cache", {"ngram-cache"}, 8, 0),
        (
            "--spec-type ngram-simple --spec-ngram-simple-size-m 16",
            {"ngram-simple"},
            16,
            0,
        ),
        (
            "--spec-type ngram-cache --spec-type draft-mtp --spec-draft-n-max 2",
            {"ngram-cache", "draft-mtp"},
            8,
            2,
        ),
    ],
)
def test_flags_say_how_many_tokens_are_drafted(
    text: str, kinds: set[str], drafted: int, kept: int
) -> None:
    """The most of any kind; states only for kinds whose drafts are taken back."""
    flags = flag_values(parse_arguments(text))
    assert spec_types(flags) == kinds
    assert drafted_tokens(flags) == drafted
    assert kept_states(flags) == kept


def test_a_number_that_is_none_is_refused() -> None:
    """With the flag's name."""
    with pytest.raises(InputError, match="--spec-draft-n-max 'many'"):
        drafted_tokens({"--spec-type": "draft-mtp", "--spec-draft-n-max": "many"})
