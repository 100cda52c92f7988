"""Devices and what they have free: the engine's list, NVML's knowledge, the host.

Devices that are not there come from ``--devices`` (``spec``) or machine files.
"""

from placer.machine.device import Device, GPUProcess, Machine, NvmlFacts

__all__ = ["Device", "GPUProcess", "Machine", "NvmlFacts"]
