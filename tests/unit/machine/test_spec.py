from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.machine.spec import machine_of_spec
from placer.units import MIB


def test_a_device_is_its_name_its_total_and_its_free_memory() -> None:
    """In MiB; the prefix of the name is the backend."""
    first, second = machine_of_spec("CUDA0:24564:23671,CUDA1:16303:12761").devices

    assert (first.name, first.buffer_type, first.backend) == ("CUDA0", "CUDA0", "CUDA")
    assert (first.total_bytes, first.free_bytes) == (24564 * MIB, 23671 * MIB)
    assert (second.name, second.free_bytes) == ("CUDA1", 12761 * MIB)


def test_free_memory_that_is_not_said_is_all_and_only_assumed() -> None:
    """An assumption is marked as one."""
    said, unsaid = machine_of_spec("Vulkan0:100:100, Vulkan1:100").devices

    assert unsaid.free_bytes == 100 * MIB
    assert (said.free_is_assumed, unsaid.free_is_assumed) == (False, True)


def test_of_the_host_nothing_is_known() -> None:
    """None, never 0."""
    machine = machine_of_spec("SYCL0:100")

    assert (machine.host_total_bytes, machine.host_free_bytes) == (None, None)
    assert machine.engine_build is None


@pytest.mark.parametrize(
    ("text", "name"),
    [("rocm1:9", "ROCm1"), ("cuda00:9", "CUDA0"), ("Metal:9", "Metal")],
)
def test_names_end_up_in_the_engines_spelling(text: str, name: str) -> None:
    """The engine itself does not mind the case of a device's name."""
    assert machine_of_spec(text).devices[0].name == name


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is no device"),
        ("CUDA0", "is no device"),
        ("CUDA0:x", "is no device"),
        ("CUDA0:1:2:3", "is no device"),
        ("CUDA0:9,", "is no device"),
        ("CUDA0:-1", "is no device"),
        ("CUDA:9", "write CUDA0"),
        ("C U:9", "no name of a device"),
        ("GPU0:9", "no backend 'GPU'"),
        ("CUDA0:0", "CUDA0 has 0 MiB"),
        ("CUDA0:99999999", "CUDA0 has 99999999 MiB"),
        ("CUDA0:9:10", "10 MiB free of 9"),
        ("CUDA0:9,cuda0:9", "two devices are called CUDA0"),
        (",".join(f"CUDA{i}:9" for i in range(16)), "16 devices are too many"),
    ],
)
def test_what_is_no_machine_is_told_in_one_line(text: str, says: str) -> None:
    """The part that is wrong is named, and what to write instead."""
    with pytest.raises(InputError) as caught:
        machine_of_spec(text)

    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
