"""Compose files of profiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from placer.app.composed import ComposeOptions, compose
from placer.app.where import Where
from placer.errors import InputError
from placer.serve.compose import Volume
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from pathlib import Path

PROFILE = """\
[tiny]
MODEL=sub/tiny.gguf
CTX_SIZE=256
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=--host 0.0.0.0 --port 8081 --jinja -ts 1,1
"""


@dataclass(frozen=True, slots=True)
class Place:
    """A folder with models.conf and a model, in which the command is started."""

    folder: Path
    where: Where

    def options(self, **values: str | bool | Path) -> ComposeOptions:
        """With an image."""
        return ComposeOptions(image="an-image", **values)  # type: ignore[arg-type]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """The place, entered."""
    (tmp_path / "models" / "sub").mkdir(parents=True)
    write_llama(tmp_path / "models" / "sub" / "tiny.gguf", n_layer=1)
    (tmp_path / "models.conf").write_text(PROFILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PLACER_DOCKER_IMAGE", raising=False)
    return Place(tmp_path, Where())


def test_a_profile_is_served_as_it_stands(place: Place) -> None:
    """All its flags, the model where the container has it, the port on loopback."""
    found = compose("tiny", place.where, place.options())
    flags = found.service.flags
    assert flags[:2] == ("-m", "/models/sub/tiny.gguf")
    assert {"--jinja", "-ts"} < set(flags)
    assert not {"--host", "--port"} & set(flags)
    assert found.service.volumes == (Volume(source="./models", target="/models"),)
    assert (found.service.host, found.service.port) == ("127.0.0.1", 8081)
    assert found.notes == ()


def test_a_folder_elsewhere_is_named_in_full(place: Place, tmp_path: Path) -> None:
    """A file beside which the models are not has no use for a relative name."""
    (tmp_path / "deep").mkdir()
    out = tmp_path / "deep" / "docker-compose.yml"
    found = compose("tiny", place.where, place.options(out=out))
    (volume,) = found.service.volumes
    assert volume.source == str(tmp_path / "models")
    assert out.read_text() == found.text


def test_what_is_not_among_the_models_is_mounted_as_it_is(
    place: Place, tmp_path: Path
) -> None:
    """A model that a profile names by its whole path is at the same path inside."""
    model = write_llama(tmp_path / "other.gguf", n_layer=1)
    conf = (tmp_path / "models.conf").read_text()
    conf = conf.replace("sub/tiny.gguf", str(model))
    (tmp_path / "models.conf").write_text(conf)
    found = compose("tiny", place.where, place.options())
    assert found.service.flags[1] == str(model)
    assert found.service.volumes == (Volume(source="./.", target=str(tmp_path)),)


def test_a_link_out_of_the_folder_is_said(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The container sees the link and not what it points to."""
    model = place.folder / "models" / "sub" / "tiny.gguf"
    real = tmp_path_factory.mktemp("blobs") / "blob"
    model.replace(real)
    model.symlink_to(real)
    (note,) = compose("tiny", place.where, place.options()).notes
    assert str(real) in note


def test_an_image_has_to_be_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the option, or by the environment."""
    with pytest.raises(InputError, match="PLACER_DOCKER_IMAGE"):
        compose("tiny", place.where)
    monkeypatch.setenv("PLACER_DOCKER_IMAGE", "of-the-environment")
    assert compose("tiny", place.where).service.image == "of-the-environment"


def test_only_its_own_file_is_replaced(place: Place) -> None:
    """A compose file of the user's stays, unless it is to go."""
    out = place.folder / "docker-compose.yml"
    own = compose("tiny", place.where, place.options(out=out)).text
    compose("tiny", place.where, place.options(out=out))
    assert out.read_text() == own
    out.write_text("services: {}\n")
    with pytest.raises(InputError, match="--force"):
        compose("tiny", place.where, place.options(out=out))
    assert out.read_text() == "services: {}\n"
    compose("tiny", place.where, place.options(out=out, force=True))
    assert out.read_text() == own
    assert {p.name for p in place.folder.iterdir()} == {
        *("models", "models.conf", "docker-compose.yml")
    }
