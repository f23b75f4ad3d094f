"""Measures what a durable write costs on this disk: the floor under every commit."""

import os
import statistics
import time
from pathlib import Path

WRITES = 200
PAGE_BYTES = 4096


def measure(folder: Path) -> float:
    """Median milliseconds of appending one page and fdatasync."""
    took: list[float] = []
    descriptor = os.open(folder / "disk", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        for _ in range(WRITES):
            os.write(descriptor, bytes(PAGE_BYTES))
            began = time.perf_counter()
            os.fdatasync(descriptor)
            took.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
    return statistics.median(took) * 1e3
