"""models.conf: read, edited and written without a byte lost that is not placer's.

::

    # a comment, which is a whole line
    [glm-q8]                        a section, one profile: [A-Za-z0-9_-]+
    NAME=GLM-4.7 Flash Q8           KEY=VALUE, cut at the first =, no quoting
    MODEL=GLM-4.7-Flash-Q8_0.gguf   under the models folder
    EXTRA_ARGS=-b 4096 -ot ...      split at blanks by the shell

Of a key that is written twice in a section the last one counts, and is the one that
an edit changes. A section that is written twice is an error. Unknown keys are kept.
What placer writes into comments: :mod:`placer.profiles.provenance`. What an edit may
touch: :mod:`placer.profiles.edit`. How a new section is put behind all others:
:mod:`placer.profiles.append`.
"""

from __future__ import annotations

from placer.profiles.conf import Conf, parse_conf
from placer.profiles.diff import changed_profiles, diff
from placer.profiles.edit import Edit
from placer.profiles.profile import Profile, read_arguments
from placer.profiles.proved import Proved, read_proved
from placer.profiles.store import (
    Backup,
    backups,
    create_conf,
    read_conf,
    undo,
    write_conf,
)

__all__ = [
    "Backup",
    "Conf",
    "Edit",
    "Profile",
    "Proved",
    "backups",
    "changed_profiles",
    "create_conf",
    "diff",
    "parse_conf",
    "read_arguments",
    "read_conf",
    "read_proved",
    "undo",
    "write_conf",
]
