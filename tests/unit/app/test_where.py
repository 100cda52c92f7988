"""Where the engine comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from placer.app.where import Where
from placer.errors import InputError


@pytest.mark.parametrize(
    ("where", "image"),
    [
        (Where(docker="named"), "named"),
        (Where(docker="named", server=Path("/app/llama-server")), "named"),
        (Where(), "of-the-environment"),
        (Where(server=Path("llama-server")), None),
    ],
)
def test_the_image_is_the_named_one_before_the_environments(
    monkeypatch: pytest.MonkeyPatch, where: Where, image: str | None
) -> None:
    """A program that is named without an image is one of this machine."""
    monkeypatch.setenv("PLACER_DOCKER_IMAGE", "of-the-environment")
    assert where.image == image
    monkeypatch.delenv("PLACER_DOCKER_IMAGE")
    assert where.image == where.docker


def test_described_devices_run_in_no_container() -> None:
    """They cannot be launched on at all."""
    with pytest.raises(InputError, match="--docker"):
        Where(docker="named", devices="CUDA0:100").described()
