"""A sealed world of Trainyard's: a home of its own, a site file, the real program, its daemon as a process."""

import json
import os
import pathlib
import re
import signal
import subprocess
import time

from harness.figures import wait_until
from harness.slurm import Slurm

ROOT = pathlib.Path(__file__).resolve().parents[3]

#: Slurm's commands that a daemon calls; in a world that counts each leaves a line.
COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")

CLASS = """
[class.{name}]
cluster = "test"
partition = "main"
cpus_per_node = 1
memory_per_node = "100M"
max_nodes = 1
default_time = "10m"
{keys}
"""

SPEC = """
name = "{name}"
[code]
path = "{name}-code"
entry_point = "train.sh"
[compute]
class = "{hardware_class}"
"""


class World:
    """Polls as Trainyard does where the site says nothing. `watched` is one whose daemon logs what passes cost, and
    whose calls of Slurm's commands are counted."""

    def __init__(self, home: pathlib.Path, program: pathlib.Path, slurm: Slurm, *, watched: bool = False):
        self.home, self.program, self.slurm = home, program, slurm
        home.mkdir(parents=True)
        commands = self._counting_commands() if watched else slurm.bin
        site = (
            f'[site]\nrun_root = "{home}/runs"\ndefault_class = "held"\n'
            f'[cluster.test]\ncommands = "{commands}"\nconf = "{slurm.conf}"\n'
            + CLASS.format(name="held", keys="directives = ['--hold']")
            + CLASS.format(name="cpu", keys="")
        )
        (home / "site.toml").write_text(site)
        self.environment = {
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "TZ": "UTC",
            "NO_COLOR": "1",
            "TRAINYARD_SITE": str(home / "site.toml"),
        }
        if watched:
            self.environment["TRAINYARD_LOG"] = "info,trainyard=debug,notify=warn"

    def _counting_commands(self) -> pathlib.Path:
        """Stand-ins that note when they were called and as what, and then become the real command."""
        directory = self.home / "bin"
        directory.mkdir()
        for name in COMMANDS:
            stand_in = directory / name
            note = f'echo "$EPOCHREALTIME {name}" >>"{self.home}/calls"'
            stand_in.write_text(f'#!/bin/bash\n{note}\nexec "{self.slurm.bin}/{name}" "$@"\n')
            stand_in.chmod(0o755)
        return directory

    def calls(self, *names: str) -> list[float]:
        """When these commands were called, all of them without names, in epoch seconds."""
        path = self.home / "calls"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [float(at) for at, name in lines if not names or name in names]

    @property
    def state(self) -> pathlib.Path:
        return self.home / ".local/state/trainyard"

    @property
    def database(self) -> pathlib.Path:
        return self.state / "trainyard.db"

    def command(self, *words: str) -> list[str]:
        return [str(self.program), *words]

    def run(self, *words: str) -> str:
        """What the program prints; it must succeed."""
        command = self.command(*words)
        done = subprocess.run(command, env=self.environment, cwd=self.home, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"trainyard {' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *words: str):
        return json.loads(self.run(*words, "--json"))

    def spec(self, name: str, hardware_class: str, script: str = "true\n") -> str:
        """A spec whose training is this bash script."""
        code = self.home / f"{name}-code"
        code.mkdir(exist_ok=True)
        (code / "train.sh").write_text(script)
        path = self.home / f"{name}.toml"
        path.write_text(SPEC.format(name=name, hardware_class=hardware_class))
        return str(path)

    def pid(self) -> int:
        return int(self.json("daemon", "status")["pid"])

    def stop(self) -> None:
        """Ends the daemon, if one serves."""
        subprocess.run(self.command("daemon", "stop"), env=self.environment, capture_output=True, check=False)

    def kill(self) -> None:
        """Ends the daemon as a power cut would, and waits until it is gone."""
        pid = self.pid()
        os.kill(pid, signal.SIGKILL)
        wait_until("the daemon is gone", lambda: not pathlib.Path(f"/proc/{pid}/exe").exists(), every=0.005)

    def log(self, from_byte: int = 0) -> str:
        """What the daemon has logged from there on."""
        path = self.state / "daemon.log"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(from_byte)
            return file.read().decode(errors="replace")

    def log_bytes(self) -> int:
        path = self.state / "daemon.log"
        return path.stat().st_size if path.exists() else 0


def fields(line: str) -> dict[str, int]:
    """The numbers of a line of the log, by name."""
    return {name: int(value) for name, value in re.findall(r"([\w.]+)=(\d+)\b", line)}


def passes(text: str) -> list[dict[str, int]]:
    return [fields(line) for line in text.splitlines() if "a pass over" in line]


def mebibytes(pid: int, key: str) -> float:
    """VmRSS is what a process has in memory now, VmHWM the most it ever had."""
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"^{key}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) / 1024 if found else 0.0


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, all its threads and its children that are over together."""
    after_name = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = sum(int(after_name[index]) for index in (11, 12, 13, 14))
    return ticks / os.sysconf("SC_CLK_TCK")


class Watched:
    """A process looked at over some time."""

    def __init__(self, pid: int):
        self.pid, self.cpu, self.since = pid, cpu_seconds(pid), time.monotonic()

    def core_percent(self) -> float:
        return (cpu_seconds(self.pid) - self.cpu) / (time.monotonic() - self.since) * 100
