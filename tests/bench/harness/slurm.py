"""A throwaway Slurm from tests/cluster, with room for as many jobs as are wanted."""

import concurrent.futures
import os
import pathlib
import re
import shlex
import subprocess
from collections.abc import Iterable, Sequence

SCRIPTS = pathlib.Path(__file__).resolve().parents[2] / "cluster"

#: Beyond the hundred thousand that are measured. Slurm's own default is 10,000.
JOBS_MAX = 130_000

OPTIONS = ("--no-accounting", "--jobs", str(JOBS_MAX))

#: Tasks of one array; below Slurm's default MaxArraySize of 1,001.
TASKS = 1_000

SCRIPT = "#!/bin/sh\ntrue\n"

HELD = ("--parsable", "--hold", "--output=/dev/null", "--chdir=/tmp", "--time=10")


class Slurm:
    """Started on entering, ended on leaving. Without accounting: an sbatch is then as fast as it can be, which is the
    harder case for a ratio."""

    def __init__(self, directory: pathlib.Path):
        self.directory = directory

    def __enter__(self) -> "Slurm":
        try:
            self._script("up", *OPTIONS)
            text = self._script("env")
            variables = dict(shlex.split(line)[1].split("=", 1) for line in text.splitlines())
            self.conf = variables["SLURM_CONF"]
            self.bin = pathlib.Path(variables["TRAINYARD_CLUSTER_DIR"]) / "bin"
            self.environment = {**os.environ, "SLURM_CONF": self.conf, "PATH": f"{self.bin}:{os.environ['PATH']}"}
            conf = pathlib.Path(self.conf)
            # The cluster of the tests forgets ended jobs sooner than any in production; this is Slurm's own default.
            usual = re.sub(r"^MinJobAge=.*$", "MinJobAge=300", conf.read_text(), flags=re.MULTILINE)
            # A long queue on a busy machine may take a command longer than the usual ten seconds.
            conf.write_text(f"{usual}MessageTimeout=60\n")
            self._script("daemon", "stop", "slurmctld")
            self._script("up", *OPTIONS)
        except BaseException:
            self._script("down")
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._script("down")

    def _script(self, name: str, *words: str) -> str:
        command = [str(SCRIPTS / name), *words, "--dir", str(self.directory)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, name: str, *words: str, text: str | None = None) -> str:
        """What a command of Slurm's prints."""
        command = [str(self.bin / name), *words]
        done = subprocess.run(command, env=self.environment, input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def release_name(self) -> str:
        return self.ask("sinfo", "--version").split()[-1]

    def jobs(self) -> int:
        """Jobs that slurmctld knows, as many as squeue prints."""
        return len(self.ask("squeue", "-h", "-a", "-t", "all", "-O", "jobid:12").splitlines())

    def hold(self, names: Sequence[str]) -> list[int]:
        """Submits a held job of each name and gives their ids."""

        def one(name: str) -> int:
            return int(self.ask("sbatch", *HELD, f"--job-name={name}", text=SCRIPT))

        with concurrent.futures.ThreadPoolExecutor(max_workers=4) as pool:
            return list(pool.map(one, names))

    def hold_many(self, count: int) -> None:
        """Puts so many held jobs more into the queue, each with a record and a row of its own: tasks of arrays, which
        Slurm takes apart when all of them but one are changed."""
        for first in range(0, count, TASKS):
            last = min(TASKS, count - first) - 1
            words = (*HELD, "--job-name=of-others", f"--array=0-{last}")
            job = self.ask("sbatch", *words, text=SCRIPT).strip()
            if last:
                self.ask("scontrol", "update", f"jobid={job}_[0-{last - 1}]", "timelimit=9")

    def change(self, verb: str, jobs: Iterable[int]) -> None:
        """`scontrol VERB` of many jobs, two hundred a call: `hold` and `uhold` change why they wait."""
        ids = [str(job) for job in jobs]
        for first in range(0, len(ids), 200):
            self.ask("scontrol", verb, ",".join(ids[first : first + 200]))

    def reset_counters(self) -> None:
        self.ask("sdiag", "--reset")

    def questions(self) -> int:
        """Questions about jobs that slurmctld has answered since its counters were reset."""
        found = re.findall(r"^\s*REQUEST_JOB_\w*INFO\w*\s.*?count:(\d+)", self.ask("sdiag"), re.MULTILINE)
        return sum(map(int, found))

    def requests(self, kind: str = r"REQUEST_(?!STATS_INFO)\w+") -> int:
        """Requests of a kind that slurmctld has answered since its counters were reset; of any kind but for its counters."""
        by_type = self.ask("sdiag").partition("by message type")[2].partition("by user")[0]
        return sum(map(int, re.findall(rf"^\s*{kind}\s.*?count:(\d+)", by_type, re.MULTILINE)))
