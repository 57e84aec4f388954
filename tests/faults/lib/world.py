"""A sealed world for one round: its own home, state directory, run root and site, and the real program in it.

A cluster is anything with `commands` (the directory of sbatch, squeue …) and `conf` (a slurm.conf, or None).
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import threading
import time

FINAL = ("completed", "failed", "cancelled")

# Several clusters on one machine give the same ids to their jobs, so scratch directories lie in the world.
CLASS = """
[class.{name}]
cluster = 'test'
partition = 'main'
cpus_per_node = 1
memory_per_node = '100M'
max_nodes = 4
default_time = '1h'
local_scratch = '{home}/scratch.$SLURM_JOB_ID'
{keys}
"""


# A training that leaves a line when it starts and one when it ends. One short line is one write, which O_APPEND keeps whole;
# neither forks.
TRAINING = """
trace() {{ echo "$1 $TRAINYARD_RUN_ID ${{SLURM_JOB_ID:-0}} ${{SLURM_RESTART_COUNT:-0}} ${{SLURM_JOB_NAME:-none}}${{SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}} $EPOCHREALTIME $$" >>{trace}; }}
# live SECONDS: a sign of life each second.
live() {{ for ((n = 0; n < $1; n++)); do sleep 1; trace beat; done; }}
trace start
{script}
trace end
"""


@dataclasses.dataclass(frozen=True)
class Said:
    """What a command said, and how long it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def number(self):
        """The number of a run that `submit` printed."""
        word = self.stdout.strip()
        return int(word) if word.isdigit() else None

    def json(self):
        return json.loads(self.stdout)


@dataclasses.dataclass(frozen=True)
class Trained:
    """A line that a training left."""

    word: str
    run: int
    job: int
    restart: int
    job_name: str
    at: float
    process: int

    @property
    def token(self):
        return self.job_name.rsplit(".", 1)[-1]


def is_gone(pid):
    """Whether nothing of a process is left that could hold a lock: its first thread may be over before the others."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return status == "Z" and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


class World:
    """See the file's own words. `keys` are more keys of the cluster, `site` more of the site file."""

    def __init__(self, program, home, cluster, keys="", site="", classes=None):
        self.program = str(program)
        self.home = pathlib.Path(home)
        self.cluster = cluster
        self.state = self.home / "state"
        self.run_root = self.home / "runs"
        self.trace = self.home / "trace"
        self.site_file = self.home / "site.toml"
        # What was promised to whoever submitted: numbers that were printed, and the numbers of each key.
        self.acknowledged = set()
        self.numbers_of_key = {}
        self.lock = threading.Lock()
        self.served = []
        self.write_site(keys, site, classes or {})

    def write_site(self, keys="", site="", classes=None):
        usual = {"commands": f"'{self.cluster.commands}'", "poll_interval": "'1s'", "in_doubt_wait": "'2s'"}
        if self.cluster.conf:
            usual["conf"] = f"'{self.cluster.conf}'"
        said = {line.split("=")[0].strip() for line in keys.splitlines()}
        lines = [f"{key} = {value}" for key, value in usual.items() if key not in said]
        known = {"cpu": "", "held": "directives = ['--hold']", **(classes or {})}
        self.site_file.write_text(
            f"[site]\nrun_root = '{self.run_root}'\ndefault_class = 'cpu'\n{site}\n"
            + "[cluster.test]\n" + "\n".join(lines) + f"\n{keys}\n"
            + "".join(CLASS.format(name=name, home=self.home, keys=more) for name, more in known.items())
        )

    def spec(self, name, script=":", more=""):
        """A spec whose training leaves its trace around this bash script; `more` is TOML behind it."""
        code = self.home / f"{name}-code"
        code.mkdir(exist_ok=True)
        (code / "train.sh").write_text(TRAINING.format(trace=self.trace, script=script))
        path = self.home / f"{name}.toml"
        path.write_text(f'name = "{name}"\n[code]\npath = "{name}-code"\nentry_point = "train.sh"\n{more}\n')
        return path

    # --- The command line

    def environment(self, **more):
        return {
            "PATH": "/usr/bin:/bin", "HOME": str(self.home), "TZ": "UTC", "NO_COLOR": "1",
            "TRAINYARD_SITE": str(self.site_file), "TRAINYARD_STATE_DIR": str(self.state), **more,
        }

    def run(self, *words, timeout=120, wrapper=(), **environment):
        """Runs the program. One that does not end in time is ended, with exit code -9."""
        started = time.monotonic()
        child = subprocess.Popen(
            [*wrapper, self.program, *map(str, words)], env=self.environment(**environment), cwd=self.home, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
        return Said(child.returncode, out, err, time.monotonic() - started)

    def submit(self, spec, *words, key=None, timeout=120, **environment):
        """Submits, and remembers what was promised."""
        more = ["--key", key] if key else []
        said = self.run("submit", spec, *more, *words, timeout=timeout, **environment)
        if said.number is not None:
            with self.lock:
                self.acknowledged.add(said.number)
                if key:
                    self.numbers_of_key.setdefault(key, set()).add(said.number)
        return said

    def show(self, run):
        said = self.run("show", run, "--json")
        if said.code != 0:
            raise RuntimeError(f"show {run}: exit code {said.code}: {said.stderr.strip()}")
        return said.json()

    def list(self, *words):
        said = self.run("list", "--json", "--limit", 100_000, *words)
        if said.code != 0:
            raise RuntimeError(f"list: exit code {said.code}: {said.stderr.strip()}")
        return said.json()

    # --- The daemon

    def serve(self, *words, wrapper=(), program=None, **environment):
        """Starts a daemon in the foreground of its own process group, with more variables; gives its process."""
        log = open(self.home / "serve.log", "ab")
        child = subprocess.Popen(
            [*wrapper, program or self.program, "serve", *words], env=self.environment(**environment), cwd=self.home,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )
        log.close()
        self.served.append(child)
        return child

    def daemon_pid(self):
        """The process that serves this world, if one does."""
        try:
            pid = json.loads((self.state / "lease.json").read_text())["process"]["pid"]
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            status = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError, KeyError, IndexError):
            return None
        return pid if b"serve" in words and status != "Z" else None

    def kill_daemon(self):
        """As a machine would: without a word. Gives whether there was one."""
        pid = self.daemon_pid()
        if pid is None:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        while not is_gone(pid):
            time.sleep(0.002)
        return True

    def start_daemon(self):
        return self.run("daemon", "start")

    # --- From outside

    def database(self):
        """The daemon's database, read-only."""
        connection = sqlite3.connect(f"file:{self.state}/trainyard.db?mode=ro", uri=True, timeout=30)
        connection.row_factory = sqlite3.Row
        return contextlib.closing(connection)

    def rows(self, query, *values):
        with self.database() as database:
            return database.execute(query, values).fetchall()

    def live(self):
        """How many runs are not over."""
        return self.rows("SELECT count(*) AS n FROM run WHERE state NOT IN ('completed', 'failed', 'cancelled')")[0]["n"]

    def traces(self):
        """What trainings have left, oldest first."""
        if not self.trace.exists():
            return []
        lines = []
        for line in self.trace.read_text().splitlines():
            word, run, job, restart, name, at, process = line.split(" ")
            lines.append(Trained(word, int(run), int(job), int(restart), name, float(at), int(process)))
        return lines

    def own_jobs(self):
        """The live jobs that the scheduler has of this world."""
        return [job for job in self.cluster.queue() if job.is_live and job.directory.startswith(f"{self.run_root}/")]

    def settle(self, patience):
        """Waits until every run is over and no job of theirs is left, with a daemon there; gives the seconds until the runs
        were over, or None when they did not suffice. A late job, and one that slurmctld remembers by mistake, goes by itself.
        """
        started, over = time.monotonic(), None
        while time.monotonic() - started < patience:
            if self.daemon_pid() is None:
                self.start_daemon()
            if self.live() == 0:
                over = over or time.monotonic() - started
                if not hasattr(self.cluster, "queue") or not self.own_jobs():
                    return over
            time.sleep(0.25)
        return None

    def close(self):
        """Ends what still runs of this world."""
        for child in self.served:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        self.kill_daemon()
