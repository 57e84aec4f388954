"""The jobs of a fake Slurm: each really runs its script, and everything that is true of it is written down.

A job's life is drawn when it is submitted: how long it waits, and whether something ends it before its script does.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import threading
import time

# Between asking a job's processes to end and killing them.
KILL_WAIT = 1.0
# A requeued job waits so long until it may start again.
REQUEUE_WAIT = 1.0

LIVE = ("PENDING", "RUNNING", "COMPLETING")
NODE = "n1"


@dataclasses.dataclass
class Fate:
    """What becomes of a job. Without `end` its script ends it; else it is ended so, `after` seconds of running, or, where
    that is None, as soon as its script has told its end."""

    wait: float = 0.0
    end: str = ""
    after: float | None = 1.0
    # It comes back into the queue under the same id.
    requeued: bool = False

    @staticmethod
    def drawn(random):
        wait = random.choice([0.0, random.uniform(0, 1), random.uniform(1, 4)])
        end, requeued = random.choices(
            [("", False), ("PREEMPTED", True), ("NODE_FAIL", True), ("PREEMPTED", False), ("TIMEOUT", False),
             ("OUT_OF_MEMORY", False), ("CANCELLED by 1000", False)],
            [80, 6, 4, 3, 3, 2, 2],
        )[0]
        return Fate(wait, end, random.uniform(0.3, 2.0), requeued)


@dataclasses.dataclass
class Start:
    """One start of a job, as accounting will tell of it."""

    submit: int
    eligible: int
    state: str = "PENDING"
    start: int = 0
    end: int = 0
    code: int = 0
    signal: int = 0
    # The cluster ended it, not its script.
    by_cluster: bool = False


class Job:
    """A job and its truth. Whoever reads it holds the cluster's lock."""

    def __init__(self, cluster, number, name, script, environment, options, fate):
        self.cluster, self.id, self.name = cluster, number, name
        self.script, self.environment, self.options, self.fate = script, environment, options, fate
        now = int(time.time())
        self.starts = [Start(now, now)]
        self.restart = 0
        # Its request is still on its way: nobody knows of it.
        self.is_hidden = False
        self.asked_to_end = threading.Event()
        self.cancelled_by = None
        self.process = None
        self.thread = threading.Thread(target=self.live, daemon=True)

    @property
    def now(self):
        return self.starts[-1]

    @property
    def state(self):
        """The word that squeue prints: sacct alone says by whom."""
        return self.now.state.split(" ")[0]

    @property
    def is_live(self):
        return not self.is_hidden and self.state in LIVE

    @property
    def token(self):
        return self.name.rsplit(".", 1)[-1]

    @property
    def run(self):
        number = self.name.split("-", 1)[0]
        return int(number) if number.isdigit() else None

    @property
    def directory(self):
        return self.options.get("chdir", "/")

    @property
    def has_started(self):
        return any(start.start for start in self.starts)

    def begin(self):
        self.is_hidden = False
        now = int(time.time())
        self.starts = [Start(now, now)]
        self.thread.start()

    def live(self):
        """Waits, runs and ends, as often as it is requeued."""
        while True:
            self.asked_to_end.wait(self.fate.wait)
            with self.cluster.lock:
                if self.asked_to_end.is_set():
                    self.end(f"CANCELLED by {self.cancelled_by}")
                    return
                self.now.state, self.now.start = "RUNNING", int(time.time())
                process = self.process = self.spawn()
            words, code = self.watch(process)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what the script left behind
            with self.cluster.lock:
                self.end(words, code)
                if not self.comes_back(words):
                    return
                self.restart += 1
                self.fate = Fate(wait=REQUEUE_WAIT)
                now = int(time.time())
                # Accounting tells the starts of a job apart by when they were submitted.
                now = max(now, self.now.submit + 1)
                self.starts.append(Start(now, now + int(REQUEUE_WAIT)))

    def comes_back(self, words):
        return self.fate.requeued and words == self.fate.end and not self.asked_to_end.is_set()

    def spawn(self):
        environment = {
            **self.environment, "SLURM_JOB_ID": str(self.id), "SLURM_JOB_NAME": self.name, "SLURM_JOB_NODELIST": NODE,
            "SLURM_RESTART_COUNT": str(self.restart), "SLURM_CLUSTER_NAME": "test",
        }
        # In front: the machine may have a Slurm of its own.
        environment["PATH"] = f"{self.cluster.commands}:{environment.get('PATH', '/usr/bin:/bin')}"
        output = self.options.get("output", "/dev/null").replace("%%", "%").replace("%j", str(self.id))
        script = self.cluster.spool / f"{self.id}.sh"
        script.write_bytes(self.script)
        with contextlib.ExitStack() as stack:
            try:
                log = stack.enter_context(open(output, "ab"))
            except OSError:
                log = subprocess.DEVNULL
            return subprocess.Popen(
                ["/bin/bash", script], env=environment, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log, start_new_session=True,
            )

    def watch(self, process):
        """Lets the script run until it ends or is ended; gives the state and the exit code."""
        started = time.monotonic()
        while process.poll() is None:
            if self.asked_to_end.is_set():
                self.kill(process)
                return f"CANCELLED by {self.cancelled_by}", process.returncode
            if self.fate.end and self.is_due(time.monotonic() - started):
                self.kill(process)
                return self.fate.end, process.returncode
            time.sleep(0.005)
        return ("COMPLETED" if process.returncode == 0 else "FAILED"), process.returncode

    def is_due(self, ran):
        if self.fate.after is not None:
            return ran >= self.fate.after
        return any(pathlib.Path(self.directory, "exits").glob("*.json"))

    def kill(self, process):
        """As slurmd does: all its processes are asked, and then killed."""
        for number, patience in ((signal.SIGTERM, KILL_WAIT), (signal.SIGKILL, None)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(patience)

    def end(self, words, code=0):
        now = self.now
        now.state, now.end = words, int(time.time())
        if code < 0:
            now.signal = -code
        elif words in ("COMPLETED", "FAILED"):
            now.code = code
        now.by_cluster = words not in ("COMPLETED", "FAILED")
        self.cluster.ended_at[self.id] = time.monotonic()

    def tell(self, number):
        """A signal for the script alone, which a job that waits has none of."""
        with self.cluster.lock:
            if self.process and self.process.poll() is None:
                self.process.send_signal(number)

    def cancel(self, uid):
        self.cancelled_by = uid
        self.asked_to_end.set()
