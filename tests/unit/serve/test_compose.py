"""Compose files, as YAML reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from placer.serve.compose import DEVICES, EVERYWHERE, Service, Volume, compose_text

yaml = pytest.importorskip("yaml", reason="PyYAML reads the file")

SERVICE = Service(
    name="glm-q8",
    image="an/image:tag",
    flags=("-m", "/models/a.gguf", "-ngl", "-1", "-ot", r"blk\.1$=CPU", "--jinja"),
    volumes=(Volume(source="./models", target="/models"),),
)


def read(service: Service) -> dict[str, Any]:
    """The one service of the file."""
    services = yaml.safe_load(compose_text(service))["services"]
    assert list(services) == [service.name]
    return dict(services[service.name])


def test_the_flags_are_those_of_the_service() -> None:
    """Each as it is, a dollar doubled for Compose; the server listens inside."""
    found = read(SERVICE)
    assert found["command"] == [
        *("-m", "/models/a.gguf", "-ngl", "-1", "-ot", r"blk\.1$$=CPU", "--jinja"),
        *("--host", EVERYWHERE, "--port", "8080"),
    ]
    assert found["image"] == "an/image:tag"
    assert found["restart"] == "unless-stopped"


def test_every_flag_has_a_line_with_its_value() -> None:
    """A negative number is a value."""
    lines = [line.strip() for line in compose_text(SERVICE).splitlines()]
    assert '"-ngl", "-1",' in lines
    assert '"--jinja",' in lines


def test_models_are_only_read() -> None:
    """The folder is a bind mount that cannot be written to."""
    assert read(SERVICE)["volumes"] == [
        {"type": "bind", "source": "./models", "target": "/models", "read_only": True}
    ]


def test_the_port_is_published_where_it_is_asked() -> None:
    """On this machine alone, unless another address is named."""
    assert read(SERVICE)["ports"] == ["127.0.0.1:8080:8080"]
    elsewhere = replace(SERVICE, host="::1", port=9)
    assert read(elsewhere)["ports"] == ["[::1]:9:8080"]


def test_health_is_asked_where_the_server_answers() -> None:
    """Under its prefix, by its scheme, at the port inside."""
    asked = read(replace(SERVICE, scheme="https", prefix="/llm", port=9))
    assert asked["healthcheck"]["test"] == [
        *("CMD", "curl", "-f", "-k", "https://localhost:8080/llm/health"),
    ]


@pytest.mark.parametrize("gpus", DEVICES)
def test_each_maker_has_its_devices(gpus: str) -> None:
    """NVIDIA's by reservation, others by their files, and none for none."""
    found = read(replace(SERVICE, gpus=gpus))
    assert ("deploy" in found) == (gpus == "nvidia")
    assert ("devices" in found) == (gpus in ("amd", "intel"))


@pytest.mark.parametrize("name", ["null", "on", "1", "a-b_C"])
def test_any_id_of_a_profile_names_its_service(name: str) -> None:
    """It stays a string."""
    assert read(replace(SERVICE, name=name))["command"]
