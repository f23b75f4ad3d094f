"""What a volume's description says of it, as values; and its generation, which counts the volume's changes."""

from __future__ import annotations

from interlock.agent.records import StepFailed
from interlock.agent.storage.domain import Volume
from interlock.verbs import GENERATION_MAX, Code, Preallocate


def generation(volume: Volume) -> int:
    """The generation that the volume is at. Raises `StepFailed`."""
    return _number(volume, "GEN")


def following(number: int) -> int:
    """The generation after this one."""
    return number + 1 if number < GENERATION_MAX else 0


def refuse_other_generation(volume: Volume, expected: int | None) -> None:
    """Raises `StepFailed` (GENERATION_MISMATCH) unless the volume is at the generation that is expected, if one is."""
    found = generation(volume)
    if expected is not None and found != expected:
        raise StepFailed(
            Code.GENERATION_MISMATCH,
            f"volume {volume.path.name} is at generation {found}, not {expected}: it was changed since; look anew",
        )


def described_bytes(volume: Volume) -> int:
    """How large a guest sees the volume. Raises `StepFailed`."""
    return _number(volume, "CAP")


def preallocation(volume: Volume) -> Preallocate:
    """Whether all its room is to be taken at once."""
    is_preallocated = volume.meta().get("TYPE") == Preallocate.PREALLOCATED.name
    return Preallocate.PREALLOCATED if is_preallocated else Preallocate.SPARSE


def _number(volume: Volume, key: str) -> int:
    text = volume.meta().get(key, "")
    if not (text.isascii() and text.isdigit()):
        raise StepFailed(Code.VOLUME_METADATA_READ_ERROR, f"{volume.meta_path} has no number as {key}; restore it")
    return int(text)
