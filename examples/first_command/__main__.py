"""Runs the example with the coordinator as a library: `python -m examples.first_command`."""

import asyncio
import tempfile
from pathlib import Path

from examples.first_command.catalog import CATALOG, AddSite, PublishSite
from interlock import CommandFailed, Coordinator


async def main(folder: Path) -> list[str]:
    """Publishes a good release and then a bad one; returns what it saw, line by line."""
    site_folder, good, bad = (folder / name for name in ("site", "good", "bad"))
    for each in (site_folder, good, bad):
        each.mkdir()
    (good / "index.html").write_text("<h1>Welcome</h1>")
    (bad / "indx.html").write_text("<h1>Oops</h1>")
    lines = []
    async with Coordinator.open(f"sqlite:///{folder}/state.db", CATALOG) as coordinator:
        added = await coordinator.submit(AddSite(name="shop", folder=str(site_folder)))
        site = await added.result()
        published = await coordinator.submit(
            PublishSite(site=site, version="v1", source=str(good)), correlation_id="ticket-42"
        )
        await published.result()
        lines.append(f"v1: live shows {_live(site_folder)}")
        failing = await coordinator.submit(PublishSite(site=site, version="v2", source=str(bad)))
        try:
            await failing.result()
        except CommandFailed as error:
            lines.append(f"v2: {error.failure.message}")
        lines.append(f"after v2: live shows {_live(site_folder)}, and there are {_names(site_folder)}")
    return lines


def _live(site_folder: Path) -> str:
    return (site_folder / "live").resolve().name


def _names(site_folder: Path) -> str:
    return ", ".join(sorted(path.name for path in site_folder.iterdir()))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        for line in asyncio.run(main(Path(temporary))):
            print(line)
