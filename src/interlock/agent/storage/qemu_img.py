"""Command lines for qemu-img, always with explicit formats, and the short calls among them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from interlock import failpoints
from interlock.agent.records import StepFailed
from interlock.verbs import Code, Preallocate, VolumeFormat

_INFO_TIMEOUT_S = 30.0
_SHORT_TIMEOUT_S = 600.0
#: A hostile image must not make a call eat the host's memory. Threads' stacks count; a copy uses a tenth of it.
_LIMITS = ("prlimit", "--data=2147483648", "--core=0")
#: What only reads must not tell more than the agent has room for.
_TELLING_LIMIT = "--fsize=1048576"
#: Looking at an image must not take long either.
_LOOKING_LIMITS = ("prlimit", "--as=2147483648", "--cpu=30", "--core=0", _TELLING_LIMIT)
_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL": "C"}
_FORMATS = {VolumeFormat.COW: "qcow2", VolumeFormat.RAW: "raw"}
_PROGRESS = re.compile(rb"\((\d{1,3})(?:\.\d+)?/100%\)")
_ERROR_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What `qemu-img info` says of one file, without looking behind it."""

    virtual_size: int
    backing_file: str | None


@dataclass(frozen=True, slots=True)
class QemuImg:
    """The program, and how fast copies may go."""

    program: str = "qemu-img"
    #: Bytes per second of a copy; None for as fast as it goes.
    copy_rate_bytes_per_s: int | None = None

    def info(self, path: Path, kind: VolumeFormat) -> ImageInfo:
        """Looks at one file, whose header was checked (`Domain.check_chain`). Raises `StepFailed`."""
        command = [self.program, "info", "-U", "-f", _FORMATS[kind], "--output=json", str(path)]
        try:
            found = json.loads(_run([*_LOOKING_LIMITS, *command], Code.IMAGE_NOT_OURS, _INFO_TIMEOUT_S))
            data_file = found.get("format-specific", {}).get("data", {}).get("data-file")
            shown = ImageInfo(int(found["virtual-size"]), found.get("backing-filename"))
        except (ValueError, KeyError, AttributeError) as error:
            raise StepFailed(Code.IMAGE_NOT_OURS, f"qemu-img says nothing of use about {path}") from error
        if data_file is not None:
            raise StepFailed(Code.IMAGE_NOT_OURS, f"{path} keeps its data in another file; that is refused")
        return shown

    def create(
        self,
        path: Path,
        kind: VolumeFormat,
        size_bytes: int,
        *,
        preallocate: Preallocate = Preallocate.SPARSE,
        backing: tuple[str, VolumeFormat] | None = None,
    ) -> None:
        """Makes an empty image; `backing` is a path relative to it and that file's format."""
        command = [*_LIMITS, self.program, "create", "-q", "-f", _FORMATS[kind]]
        if preallocate is Preallocate.PREALLOCATED:
            command += ["-o", "preallocation=falloc"]
        if backing is not None:
            command += ["-b", backing[0], "-F", _FORMATS[backing[1]]]
        _run([*command, str(path), str(size_bytes)], Code.VOLUME_CREATION_ERROR, _SHORT_TIMEOUT_S)

    def check(self, path: Path, kind: VolumeFormat) -> None:
        """Fails unless the image is whole. A raw file has nothing that could be checked."""
        if kind is VolumeFormat.COW:
            command = [*_LIMITS, _TELLING_LIMIT, self.program, "check", "-q", "-f", "qcow2", str(path)]
            _run(command, Code.VOLUME_COPY_ERROR, _SHORT_TIMEOUT_S)

    def convert_command(
        self,
        source: tuple[Path, VolumeFormat],
        target: tuple[Path, VolumeFormat],
        *,
        preallocate: Preallocate = Preallocate.SPARSE,
        backing: tuple[str, VolumeFormat] | None = None,
    ) -> list[str]:
        """The command that copies what `source` shows into the file `target`, telling its progress.

        With `backing` (a path relative to `target`, and that file's format) only what `source` holds above its
        own parent is copied, and the target is built upon that file.
        """
        command = [*_LIMITS, self.program, "convert", "-p", "-f", _FORMATS[source[1]], "-O", _FORMATS[target[1]]]
        if backing is not None:
            command += ["-B", backing[0], "-F", _FORMATS[backing[1]]]
        if _takes_direct_io(source[0]):
            command += ["-T", "none"]
        # By itself the copy would end without a flush, and a power cut after that would leave holes in a success.
        command += ["-t", "none" if _takes_direct_io(target[0]) else "writeback"]
        if preallocate is Preallocate.PREALLOCATED:
            command += ["-o", "preallocation=falloc", "-S", "0"]
        if self.copy_rate_bytes_per_s is not None:
            command += ["-r", str(self.copy_rate_bytes_per_s)]
        return [*command, str(source[0]), str(target[0])]

    def resize(
        self,
        path: Path,
        kind: VolumeFormat,
        size_bytes: int,
        *,
        preallocate: Preallocate = Preallocate.SPARSE,
        is_shrinking: bool = False,
        code: Code = Code.VOLUME_EXTENDING_ERROR,
    ) -> None:
        """Gives the image another size, as a guest sees it; what is beyond it is lost if `is_shrinking`."""
        command = self.resize_command(path, kind, size_bytes, preallocate=preallocate, is_shrinking=is_shrinking)
        _run(command, code, _SHORT_TIMEOUT_S)

    def resize_command(
        self,
        path: Path,
        kind: VolumeFormat,
        size_bytes: int,
        *,
        preallocate: Preallocate = Preallocate.SPARSE,
        is_shrinking: bool = False,
    ) -> list[str]:
        """The same as a command, for a child that may take long."""
        command = [*_LIMITS, self.program, "resize", "-q", "-f", _FORMATS[kind]]
        if is_shrinking:
            command += ["--shrink"]
        elif preallocate is Preallocate.PREALLOCATED:
            command += ["--preallocation=falloc"]
        return [*command, str(path), str(size_bytes)]

    def rebase(self, path: Path, backing: tuple[str, VolumeFormat]) -> None:
        """Names another parent in the header of a COW image; the parents must show the same, nothing is copied."""
        command = [*_LIMITS, self.program, "rebase", "-q", "-u", "-f", "qcow2"]
        command += ["-b", backing[0], "-F", _FORMATS[backing[1]], str(path)]
        _run(command, Code.MERGE_SNAPSHOTS_ERROR, _SHORT_TIMEOUT_S)

    def commit_command(self, top: Path, base: tuple[str, Path]) -> list[str]:
        """The command that writes what the COW image `top` holds into its parent, telling its progress.

        `base` is the parent as `top` names it, and where it is. `top` stays as it is.
        """
        command = [*_LIMITS, self.program, "commit", "-p", "-d", "-f", "qcow2", "-b", base[0]]
        if _takes_direct_io(top) and _takes_direct_io(base[1]):
            command += ["-t", "none"]
        if self.copy_rate_bytes_per_s is not None:
            command += ["-r", str(self.copy_rate_bytes_per_s)]
        return [*command, str(top)]


def progress_percent(output: bytes) -> int | None:
    """The last progress that a command has printed."""
    found = _PROGRESS.findall(output)
    return min(100, int(found[-1])) if found else None


def reason(error_text: str, code: Code) -> StepFailed:
    """The failure that an error text of qemu-img stands for."""
    if "No space left on device" in error_text:
        return StepFailed(Code.NO_SPACE, error_text[-_ERROR_CHARS_MAX:])
    return StepFailed(code, error_text[-_ERROR_CHARS_MAX:])


def _run(command: Sequence[str], code: Code, timeout_s: float) -> bytes:
    # Files in memory, since a limit on the size of files holds for them, and for pipes not.
    with open(os.memfd_create("output"), "w+b") as output, open(os.memfd_create("error"), "w+b") as error_output:
        try:
            with failpoints.around("agent_qemu_img"):
                done = subprocess.run(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=error_output,
                    timeout=timeout_s,
                    check=False,
                    env=_ENVIRONMENT,
                    cwd="/",
                )
        except subprocess.TimeoutExpired as error:
            raise StepFailed(code, f"{' '.join(command)} took longer than {timeout_s:g} s") from error
        except OSError as error:
            raise StepFailed(code, f"{command[0]} cannot be run: {error.strerror}") from error
        if done.returncode != 0:
            error_output.seek(0)
            error_text = " ".join(error_output.read().decode(errors="replace").split())
            raise reason(error_text or f"{' '.join(command)} ended with status {done.returncode}", code)
        output.seek(0)
        return output.read()


def _takes_direct_io(path: Path) -> bool:
    """Whether the file (which exists) can be read and written past the page cache."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True
