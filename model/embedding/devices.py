"""Finds the machine's devices, precisions and CPUs. Imports torch only if a GPU driver exists."""

import math
import os
from functools import cache
from pathlib import Path

# The first two are Linux's own drivers, the third is WSL's.
GPU_DRIVER_FILES = (Path("/dev/nvidiactl"), Path("/proc/driver/nvidia/version"), Path("/dev/dxg"))
CPU_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "float32", "bfloat16")


class UnavailableError(RuntimeError):
    """This machine lacks the requested device or precision."""


def resolve_device(device: str) -> str:
    """Return "cpu" or "cuda"; "auto" is "cuda" where a GPU works.

    Raises:
        UnavailableError: no GPU works, and `device` is "cuda".
        ValueError: no such device.
    """
    if device not in DEVICES:
        raise ValueError(f"Device {device!r} is none of {', '.join(DEVICES)}.")
    if device == "cpu":
        return "cpu"
    if _cuda_works():
        return "cuda"
    if device == "cuda":
        raise UnavailableError("No CUDA device can be used here: set the device to auto or cpu.")
    return "cpu"


def preferred_precision(device: str) -> str:
    """Return "bfloat16" where `device` supports it in hardware, else "float32"."""
    if resolve_device(device) == "cuda":
        import torch

        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return "bfloat16" if CPU_BFLOAT16_FLAGS & _cpu_flags() else "float32"


def resolve_precision(precision: str, device: str) -> str:
    """Return "float32" or "bfloat16"; "auto" is the preferred one of `device`.

    Raises:
        UnavailableError: `precision` is "bfloat16", which the device doesn't support. Falling back
            would mix embeddings of two precisions under one key.
        ValueError: no such precision or device.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"Precision {precision!r} is none of {', '.join(PRECISIONS)}.")
    if precision == "float32":
        return precision
    preferred = preferred_precision(device)
    if precision == "bfloat16" and preferred != precision:
        raise UnavailableError(
            "This device doesn't compute in bfloat16: set the precision to auto or float32."
        )
    return preferred


def available_cpus() -> int:
    """The number of CPUs for this process, by its affinity and its container's quota."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux
        count = len(os.sched_getaffinity(0))
    return max(1, min(count, math.ceil(_cgroup_quota() or count)))


def _cgroup_quota() -> float | None:
    """The CPU quota of cgroup v2's `cpu.max`, "QUOTA PERIOD"; None when unlimited."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return None


@cache
def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(
        flag for line in lines if line.startswith("flags") for flag in line.split(":")[1].split()
    )


def _cuda_works() -> bool:
    # Importing torch takes seconds: machines without a driver are spared it.
    if not any(path.exists() for path in GPU_DRIVER_FILES):
        return False
    try:
        import torch
    except ModuleNotFoundError:
        return False
    return bool(torch.cuda.is_available())
