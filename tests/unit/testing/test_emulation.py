"""An emulated machine is an environment, a state file, and nothing that stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from placer.errors import InputError, MachineError
from placer.testing import EmulatedMachine, EmulatedWatch, emulation
from placer.testing.emulation import shader_cache, shader_cache_is_cold
from placer.testing.state import ProcessUsage, StateFile
from placer.units import MIB


class FakeState:
    """A state file that tells what it is given."""

    device_count = 2

    def __init__(self, *usage: ProcessUsage) -> None:
        self._usage = usage

    def usage(self) -> tuple[ProcessUsage, ...]:
        """As given."""
        return self._usage

    def close(self) -> None:
        """There is nothing to let go of."""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer and lavapipe are taken to be there; the cache is empty."""
    monkeypatch.setattr(emulation, "layer_folder", lambda: tmp_path / "layer")
    monkeypatch.setattr(emulation, "driver_library", lambda: "libvulkan_lvp.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def usage(pid: int, used: int, peak: int, *, running: bool = True) -> ProcessUsage:
    """The same figures for two devices."""
    return ProcessUsage(
        pid=pid, running=running, used_bytes=(used, used), peak_bytes=(peak, peak)
    )


def test_the_environment_names_one_driver_a_device() -> None:
    """By files that exist, under the old name of the variable and the new one."""
    with EmulatedMachine([400, 300, 200]) as machine:
        files = machine.env["VK_DRIVER_FILES"].split(":")
        assert len(set(files)) == 3
        assert all(Path(file).is_file() for file in files)
        assert machine.env["VK_ICD_FILENAMES"] == machine.env["VK_DRIVER_FILES"]
        assert machine.env["GGML_VK_VISIBLE_DEVICES"] == "0,1,2"


def test_paths_in_the_environment_are_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the folder is not: the engine may run elsewhere."""
    monkeypatch.chdir(tmp_path)
    with EmulatedMachine([400], folder=Path("here")) as machine:
        for name in (
            "VK_DRIVER_FILES",
            "VK_LAYER_PATH",
            "PLACER_EMULATED_STATE",
            "MESA_SHADER_CACHE_DIR",
        ):
            assert machine.env[name].startswith(str(tmp_path)), name


def test_the_environment_cannot_be_changed_by_accident() -> None:
    """It is shared by all who use the machine."""
    with EmulatedMachine([400]) as machine, pytest.raises(TypeError):
        machine.env["X"] = "1"  # type: ignore[index]


def test_a_temporary_machine_leaves_nothing() -> None:
    """Its files are gone once it is closed, also after an error."""
    machine = EmulatedMachine([400])
    state = Path(machine.env["PLACER_EMULATED_STATE"])
    assert state.is_file()
    with pytest.raises(KeyError), machine:
        raise KeyError
    assert not state.parent.exists()


def test_a_machine_in_a_given_folder_stays(tmp_path: Path) -> None:
    """Its state can be read afterwards."""
    with EmulatedMachine([400, 300], folder=tmp_path / "new"):
        pass
    state = StateFile(tmp_path / "new" / "state")
    assert state.capacity_bytes() == (400 * MIB, 300 * MIB)
    state.close()


def test_a_machine_that_stays_is_joined_as_it_is(tmp_path: Path) -> None:
    """What is used of it counts for later commands; other capacities begin anew."""
    with EmulatedMachine([400, 300], folder=tmp_path) as machine:
        machine.occupy(1, 50)
    with EmulatedMachine([400, 300], folder=tmp_path) as machine:
        assert machine.used_bytes() == (0, 50 * MIB)
    with EmulatedMachine([400, 200], folder=tmp_path) as machine:
        assert machine.used_bytes() == (0, 0)


@pytest.mark.parametrize("capacities", [[], [0], [400] * 17])
def test_an_impossible_machine_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capacities: list[int]
) -> None:
    """What was written for it is removed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(InputError):
        EmulatedMachine(capacities)
    assert not list(tmp_path.glob("emulated-gpus-*"))


def test_a_folder_with_a_colon_is_refused(tmp_path: Path) -> None:
    """The variables of the Vulkan loader could not name it."""
    with pytest.raises(InputError, match="colon"):
        EmulatedMachine([400], folder=tmp_path / "a:b")


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is written."""

    def fail() -> str:
        raise MachineError("no lavapipe")

    monkeypatch.setattr(emulation, "driver_library", fail)
    with pytest.raises(MachineError, match="no lavapipe"):
        EmulatedMachine([400])


def test_capacity_and_neighbours_are_given_in_mib() -> None:
    """And told in bytes; a neighbour of 0 MiB is gone."""
    with EmulatedMachine([400, 300]) as machine:
        machine.set_capacity(1, 200)
        machine.occupy(0, 7)
        assert machine.capacity_bytes() == (400 * MIB, 200 * MIB)
        assert machine.used_bytes() == (7 * MIB, 0)
        machine.occupy(0, 0)
        assert machine.used_bytes() == (0, 0)


def test_the_peak_of_a_process_is_that_of_its_newest_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbers of processes come again; one that never came has used nothing."""
    state = FakeState(usage(11, 0, 5, running=False), usage(11, 1, 2), usage(12, 3, 4))
    monkeypatch.setattr(emulation, "StateFile", lambda _: state)
    with EmulatedMachine([400, 300]) as machine:
        assert machine.peak_bytes(11) == (2, 2)
        assert machine.peak_bytes(12) == (4, 4)
        assert machine.peak_bytes(13) == (0, 0)


def test_the_watch_tells_what_a_process_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, not zero, for a process that has not opened the devices."""
    state = FakeState(usage(11, 9, 9), usage(11, 1, 2))
    monkeypatch.setattr(emulation, "StateFile", lambda _: state)
    with EmulatedMachine([400, 300]) as machine:
        watch = EmulatedWatch(machine)
        assert watch.peak_bytes(11) == (2, 2)
        assert watch.peak_bytes(12) is None


def test_the_watch_tells_what_all_others_hold() -> None:
    """Here a neighbour; no process has opened the devices."""
    with EmulatedMachine([400, 300]) as machine:
        machine.occupy(1, 7)
        assert EmulatedWatch(machine).others_bytes(11) == (0, 7 * MIB)


def test_the_shader_cache_is_cold_until_a_shader_is_kept() -> None:
    """Empty folders do not warm it; it outlives machines."""
    assert shader_cache_is_cold()
    with EmulatedMachine([400]) as machine:
        cache = Path(machine.env["MESA_SHADER_CACHE_DIR"])
        assert cache == shader_cache()
        (cache / "0a").mkdir()
        assert shader_cache_is_cold()
        (cache / "0a" / "shader").touch()
    assert not shader_cache_is_cold()


def test_the_environment_of_this_process_is_untouched() -> None:
    """A machine is for those who are given its variables."""
    before = dict(os.environ)
    with EmulatedMachine([400]):
        assert dict(os.environ) == before
