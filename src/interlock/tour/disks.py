"""Disks of a site, looked at from outside: by the files themselves, with qemu-img and qemu-io."""

import filecmp
import os
import re
import subprocess
from pathlib import Path

from interlock.testing.site import Site


class Disks:
    """The disks whose names begin so, as the database names them now."""

    def __init__(self, site: Site, prefix: str) -> None:
        rows = [disk for disk in site.listed("entity", "disk") if (disk["name"] or "").startswith(prefix)]
        shown = [site.json("entity", "disk", row["id"]) for row in sorted(rows, key=lambda row: str(row["name"]))]
        self._site = site
        self.names = [disk["name"] for disk in shown]
        #: the images' ids, which are their folders' names
        self.ids = [disk["fields"]["image_id"] for disk in shown]
        self.files = [site.images()[id] / disk["fields"]["volume_id"] for id, disk in zip(self.ids, shown, strict=True)]

    def fill(self, size_bytes: int) -> None:
        """Writes random data to the beginning of each, and keeps it beside for comparison."""
        for name, file in zip(self.names, self.files, strict=True):
            data = self._data(name)
            data.write_bytes(os.urandom(size_bytes))
            subprocess.run(
                ["qemu-io", "-f", "qcow2", "-c", f"write -q -s {data} 0 {size_bytes}", str(file)], check=True
            )

    def hold_the_data_of(self, others: "Disks") -> bool:
        """Whether each holds byte for byte what was written into the other of the same place."""
        return len(self.files) == len(others.names) and all(
            self._begins_with(file, self._data(name)) for file, name in zip(self.files, others.names, strict=True)
        )

    def _begins_with(self, image: Path, data: Path) -> bool:
        check = subprocess.run(["qemu-img", "check", "-q", "-f", "qcow2", str(image)])
        raw = self._site.folder / "compare.raw"
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(image), str(raw)], check=True)
        os.truncate(raw, data.stat().st_size)
        return check.returncode == 0 and filecmp.cmp(raw, data, shallow=False)

    def _data(self, name: str) -> Path:
        return self._site.folder / f"{name}.data"

    def deletes_in_journal(self) -> set[int]:
        """How often the agent's journal shows the start of an Image.delete, per image."""
        journal = self._site.agent_journal().decode(errors="replace")
        return {
            len(set(re.findall(rf'"id":"([^"]+)","method":"Image.delete","params":{{[^}}]*"imageID":"{id}"', journal)))
            for id in self.ids
        }
