"""The few numbers that turn data sheets into tokens per second, and their source.

A data sheet says what a memory can do at best; a model on llama.cpp does less, and pays
for every operation that is started and every time that a token changes the device.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the speed model multiplies and adds.

    Attributes:
        source: where the numbers come from, in words.
        device_efficiency: share of a device's bandwidth that weights are read with.
        host_efficiency: the same of the host's, by a data sheet.
        read_efficiency: the same of what a read of the host's memory measured, which
            is three quarters of a data sheet's where both are known.
        node_s: seconds for each operation that a device starts.
        device_hop_s: seconds from one device to another of the same machine.
        host_hop_s: seconds from a device to the CPU, or back.
        link_efficiency: share of a PCIe link's bandwidth.
        dense_efficiency: share of a device's arithmetic in dense layers' prompts.
        expert_efficiency: the same where a prompt is dealt out to experts.
        host_flops_per_s: what the CPU computes where it has to read a prompt.
        decode_spread: the factors below and above the prediction that hold the truth.
        prefill_spread: the same of prompts.
        decode_factor: measured over predicted, as launches taught; 1 for none.
        prefill_factor: the same of prompts.
    """

    source: str
    device_efficiency: float = 0.75
    host_efficiency: float = 0.55
    read_efficiency: float = 0.73
    node_s: float = 1.8e-6
    device_hop_s: float = 20e-6
    host_hop_s: float = 80e-6
    link_efficiency: float = 0.8
    dense_efficiency: float = 0.7
    expert_efficiency: float = 0.3
    host_flops_per_s: float = 0.4e12
    decode_spread: tuple[float, float] = (0.8, 1.2)
    prefill_spread: tuple[float, float] = (0.5, 1.6)
    decode_factor: float = 1.0
    prefill_factor: float = 1.0


# Five numbers for eight measurements: device_efficiency and node_s by GLM-4.7 Flash Q4
# and Q8 on one and two GPUs (140, 105 and 112 tokens/s) and gpt-oss-120b on a DGX Spark
# (38 to 41), device_hop_s by Q8 with 33 graph splits and with 3, the host's two by
# gpt-oss-120b and Qwen3-Coder-Next with experts on the CPU (22; 33 and 24).
FIELD_NOTES = Calibration(
    source="a user's eight measurements on an RTX 4090 with an RTX 5070 Ti and on a "
    "DGX Spark"
)
