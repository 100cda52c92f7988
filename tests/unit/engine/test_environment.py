"""Nothing of the user's reaches an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.engine.environment import engine_environment

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_settings_of_the_user_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine's own variables and config folder go; all else stays."""
    for name in (
        "LLAMA_ARG_CTX_SIZE",
        "LLAMA_LOG_FILE",
        "LLAMA_API_KEY",
        "GGML_CUDA_ENABLE_UNIFIED_MEMORY",
        "GGML_VK_ALLOW_SYSMEM_FALLBACK",
    ):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/users/own")
    env = engine_environment(tmp_path / "llama-server", tmp_path / "home", {})
    assert not [name for name in env if name.startswith("LLAMA_")]
    assert "GGML_CUDA_ENABLE_UNIFIED_MEMORY" not in env
    assert "GGML_VK_ALLOW_SYSMEM_FALLBACK" not in env
    assert env["CUDA_VISIBLE_DEVICES"] == "1,0"
    assert env["XDG_CONFIG_HOME"] == str(tmp_path / "home")
    assert env["GGML_NO_BACKTRACE"] == "1"


def test_what_the_machine_needs_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables given with the engine replace the user's and placer's own."""
    monkeypatch.setenv("VK_ICD_FILENAMES", "users.json")
    extra = {"VK_ICD_FILENAMES": "ours.json", "GGML_NO_BACKTRACE": "0"}
    env = engine_environment(tmp_path / "llama-server", tmp_path, extra)
    assert env["VK_ICD_FILENAMES"] == "ours.json"
    assert env["GGML_NO_BACKTRACE"] == "0"


def test_libraries_beside_the_engine_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their folder comes before the user's; without libraries nothing changes."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/users/lib")
    binary = tmp_path / "llama-server"
    assert engine_environment(binary, tmp_path, {})["LD_LIBRARY_PATH"] == "/users/lib"
    (tmp_path / "libggml.so").touch()
    (tmp_path / "libllama.so").touch()
    env = engine_environment(binary, tmp_path, {})
    assert env["LD_LIBRARY_PATH"] == f"{tmp_path}:/users/lib"
