"""A real Slurm of tests/cluster, and what it says by itself."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "tests/cluster"


@dataclasses.dataclass(frozen=True)
class Job:
    """A job as Slurm tells of it."""

    id: int
    name: str
    state: str
    user: str
    directory: str

    @property
    def is_live(self):
        return self.state in ("PENDING", "RUNNING", "SUSPENDED", "CONFIGURING", "COMPLETING", "REQUEUED")


def of_task(name, task):
    """What a job is known by: its name, and its place in an array, whose tasks have one name."""
    return f"{name}_{task}" if task.isdigit() else name


class Slurm:
    """A cluster of its own below a short path, made with options of tests/cluster/up."""

    def __init__(self, options=()):
        self.options = list(options)
        # A site takes its run root from a world, so the cluster's own is not used.
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="faults-slurm-"))
        self.has_accounting = "--no-accounting" not in options
        self.conf = self.dir / "etc/slurm.conf"
        self.commands = self.dir / "bin"

    def script(self, name, *words):
        done = subprocess.run(
            [SCRIPTS / name, *words, "--dir", self.dir], capture_output=True, text=True, check=False, timeout=300
        )
        if done.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(words)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def up(self):
        """Starts it, or whatever of it does not run."""
        self.script("up", *self.options)

    def heal(self):
        """Gives nodes back that slurmctld has given up, as it does when it was killed in the midst of their jobs."""
        self.ask("scontrol", "update", "nodename=n[1-4]", "state=resume", check=False)

    def down(self):
        if self.dir.exists():
            self.script("down")
            shutil.rmtree(self.dir, ignore_errors=True)

    def daemon(self, verb, name="slurmctld"):
        """freeze, thaw, kill or stop."""
        return self.script("daemon", verb, name)

    def environment(self):
        return {
            "PATH": f"{self.commands}:{os.environ.get('PATH', '/usr/bin:/bin')}", "SLURM_CONF": str(self.conf),
            "SLURM_TIME_FORMAT": "%s", "TZ": "UTC", "LC_ALL": "C",
        }

    def ask(self, name, *words, check=True, timeout=120, stdin=None):
        """What a command prints."""
        done = subprocess.run(
            [self.commands / name, *words], env=self.environment(), capture_output=True, text=True, check=False,
            timeout=timeout, input=stdin,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{name} {' '.join(words)}: exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def queue(self):
        """The jobs that slurmctld knows, ended ones too while it remembers them."""
        text = self.ask("squeue", "-h", "-a", "-t", "all", "-r", "-o", "%A|%K|%T|%u|%Z|%j")
        rows = (line.split("|", 5) for line in text.splitlines())
        return [Job(int(job), of_task(name, task), state, user, where) for job, task, state, user, where, name in rows]

    def jobs(self):
        """All jobs that there are and were: slurmctld's, and those that accounting remembers. What slurmctld does not know does
        not live: of a job that it forgot when it was killed, accounting may say for ever that it runs."""
        known = {(job.id, job.name): job for job in self.accounted() if not job.is_live}
        known.update({(job.id, job.name): job for job in self.queue()})
        return sorted(known.values(), key=lambda job: job.id)

    def accounted(self):
        if not self.has_accounting:
            return []
        text = self.ask(
            "sacct", "-a", "-D", "-X", "-n", "-P", "-S", "2000-01-01", "-o", "JobIDRaw,JobID,State,User,WorkDir,JobName"
        )
        rows = (line.split("|", 5) for line in text.splitlines())
        return [
            Job(int(job), of_task(name, shown.partition("_")[2]), state.split()[0] if state else "", user, where)
            for job, shown, state, user, where, name in rows
            if job.isdigit()
        ]
