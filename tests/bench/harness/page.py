"""The tables: as they are printed, and where they stand in docs/performance.md."""

import datetime
import os
import platform
import re
import subprocess
from collections.abc import Sequence

from harness.figures import Row
from harness.stage import Stage
from harness.world import ROOT

PAGE = ROOT / "docs/performance.md"
HEAD = ("what", "ours", "against", "ratio", "bar", "")


def machine() -> str:
    """The machine in words that say how fast it is, and nothing about whose it is."""
    cpu = re.search(r"^model name\s*:\s*(.+)$", open("/proc/cpuinfo", encoding="utf-8").read(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    name = f" ({cpu.group(1).strip()})" if cpu else ""
    return f"{os.cpu_count()} cores{name}, {memory:.0f} GiB, Linux {platform.release().split('-')[0]}"


def commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True).stdout.strip()

    changed = " with changes" if git("status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.lock") else ""
    return f"{git('rev-parse', '--short', 'HEAD') or 'unknown'}{changed}"


def section(name: str, rows: Sequence[Row], stage: Stage, *, quick: bool) -> str:
    """One benchmark's table, with what has to be known to believe it."""
    now = datetime.datetime.now(datetime.timezone.utc)
    facts = (
        f"{now:%Y-%m-%d %H:%M} UTC, commit {commit()}, Slurm {stage.slurm.release_name()}, {machine()}; "
        f"load average {os.getloadavg()[1]:.1f} at the end."
    )
    warning = "Small sizes: no figure here counts.\n" if quick else ""
    lines = ["| " + " | ".join(cells) + " |" for cells in (HEAD, ["---"] * len(HEAD), *(row.cells() for row in rows))]
    return f"<!-- bench: {name} -->\n{warning}{facts}\n\n" + "\n".join(lines) + "\n<!-- end of bench -->"


def write(name: str, text: str) -> None:
    """Puts a section where the page has one of that name."""
    page = PAGE.read_text()
    place = re.compile(rf"<!-- bench: {re.escape(name)} -->.*?<!-- end of bench -->", re.DOTALL)
    if not place.search(page):
        raise RuntimeError(f"{PAGE} has no place for `{name}`: <!-- bench: {name} --> … <!-- end of bench -->")
    PAGE.write_text(place.sub(lambda _: text, page, count=1))
