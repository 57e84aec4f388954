"""The controller of a fake Slurm: it keeps the jobs, and says to each call of a command what to print.

    slurm = FakeSlurm(directory, seed, accounting=True)
    slurm.commands          the directory of sbatch, squeue …
    slurm.weather           what goes wrong; see weather.py
    slurm.jobs()            what is true, as a real Slurm of these tests tells it
"""

import json
import os
import pathlib
import pwd
import random
import signal
import socketserver
import threading
import time

from fake import answers, mishaps
from fake.jobs import KILL_WAIT, LIVE, Fate, Job
from fake.weather import Weather
from lib.slurm import Job as Told

PROGRAM = pathlib.Path(__file__).resolve().parent / "slurm"
COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo")


class FakeSlurm:
    """A cluster of jobs that really run, behind commands that misbehave as the weather says."""

    conf = None

    def __init__(self, directory, seed, accounting=True, min_job_age=300, fates=Fate.drawn):
        self.directory = pathlib.Path(directory)
        self.random = random.Random(f"{seed}/lives")
        self.seed, self.has_accounting, self.min_job_age, self.fates = seed, accounting, min_job_age, fates
        self.hang_seconds = 5
        self.user, self.uid = pwd.getpwuid(os.getuid()).pw_name, os.getuid()
        self.lock = threading.RLock()
        self.known, self.ended_at, self.snapshot, self.calls = [], {}, [], 0
        # Whether the same user has other jobs, whose names are made to be taken for something else.
        self.has_forgers = False
        self.commands, self.spool = self.directory / "bin", self.directory / "spool"
        for made in (self.directory, self.commands, self.spool):
            made.mkdir(parents=True, exist_ok=True)
        for name in COMMANDS:
            (self.commands / name).symlink_to(PROGRAM)
        self.weather = Weather(self.directory / "weather.json")
        self.server = Server(str(self.directory / "socket"), Handler)
        self.server.slurm = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        """Ends it with its jobs."""
        self.server.shutdown()
        self.server.server_close()
        with self.lock:
            jobs = list(self.known)
        for job in jobs:
            job.cancel(self.uid)
        for job in jobs:
            job.thread.join(5)

    # --- What is true

    def jobs(self):
        with self.lock:
            return [
                Told(job.id, job.name, job.state, self.user, job.directory) for job in self.known
            ]

    def all(self):
        """The jobs themselves; hold the lock to see them at one moment."""
        with self.lock:
            return list(self.known)

    def live(self):
        with self.lock:
            return [job for job in self.known if job.is_live]

    def of_run(self, run):
        with self.lock:
            return [job for job in self.known if job.run == run]

    # --- What commands do

    def submit(self, call, after=0.0):
        """A job comes into being, perhaps a moment later; gives its number."""
        options = {name: answers.option(call.argv, f"--{name}") for name in ("job-name", "output", "chdir")}
        options = {name: value for name, value in options.items() if value is not None}
        with self.lock:
            fate = self.fates(self.random)
            number = 100 + len(self.known)
            job = Job(self, number, options["job-name"], call.stdin, call.environment, options, fate)
            if after:
                threading.Timer(after, self.begin, [job]).start()
                # Its place is kept, so that ids stay in order.
                self.known.append(job)
                job.is_hidden = True
            else:
                self.known.append(job)
                self.begin(job)
        return number

    def begin(self, job):
        with self.lock:
            job.begin()

    def cancel(self, ids):
        for job in self.all():
            if job.id in ids:
                job.cancel(self.uid)

    def tell(self, ids, number):
        for job in self.all():
            if job.id in ids:
                job.tell(number)

    def queue(self):
        """The rows that slurmctld still remembers."""
        now = time.monotonic()
        with self.lock:
            rows = [
                answers.queue_row(job, self.uid, self.has_accounting) for job in self.known
                if not job.is_hidden and now - self.ended_at.get(job.id, now) < self.min_job_age
            ]
            # As it was at some moment, now and then another one.
            if any(row["state"] in LIVE for row in rows) and (not self.snapshot or self.calls % 7 == 0):
                self.snapshot = rows
            self.calls += 1
            return rows + (answers.forged(rows) if self.has_forgers else [])

    def old_queue(self):
        self.queue()
        with self.lock:
            return list(self.snapshot)

    def accounts(self, ids, since):
        with self.lock:
            return [
                answers.account_row(job, number, self.user, self.uid)
                for job in self.known if not job.is_hidden
                for number, start in enumerate(job.starts)
                if (job.id in ids if ids is not None else not start.end or start.end >= since)
            ]


class Call:
    """One call of a command."""

    def __init__(self, slurm, request, number):
        self.cluster, self.name, self.argv = slurm, request["name"], request["argv"]
        self.environment = request["env"]
        self.stdin = request["stdin"].encode("latin-1")
        self.random = mishaps.drawn(f"{slurm.seed}/{self.name}/{number}")

    @property
    def columns(self):
        return answers.queue_columns(self.argv)

    def rows(self):
        if self.name == "squeue":
            return self.cluster.queue()
        _, _, ids, since = answers.accounts_asked(self.argv)
        return self.cluster.accounts(ids, since)

    def rendered(self, rows):
        if self.name == "squeue":
            lines = answers.queue_lines(rows, self.columns)
        else:
            columns, delimiter, _, _ = answers.accounts_asked(self.argv)
            lines = answers.account_lines(rows, columns, delimiter)
        return "".join(line + "\n" for line in lines)

    def honest(self):
        """What a query prints when all is well."""
        if self.name == "scontrol":
            return answers.config(self.cluster.has_accounting, self.cluster.min_job_age, int(KILL_WAIT))
        return self.rendered(self.rows())

    def submit(self, after=0.0):
        return self.cluster.submit(self, after)

    def cancel(self):
        ids = {int(word.split("_")[0]) for word in self.argv if word[0].isdigit()}
        told = [word.removeprefix("--signal=") for word in self.argv if word.startswith("--signal=")]
        if not told:
            self.cluster.cancel(ids)
        elif "--batch" in self.argv:
            self.cluster.tell(ids, signal.Signals[f"SIG{told[0]}"])

    def steps(self):
        """What the command's program is to do."""
        if self.name == "scontrol" and self.argv[:2] == ["show", "hostnames"]:
            return [mishaps.out(self.argv[2] + "\n")]
        if self.name == "sbatch" and not self.stdin:
            return [mishaps.err("sbatch: error: Batch script is empty!"), ["exit", 1]]
        word = self.cluster.weather.next(self.name)
        if word != "fine":
            return mishaps.TABLES[self.name][word].steps(self)
        return self.fine()

    def fine(self):
        if self.name == "sbatch":
            return [mishaps.out(f"{self.submit()}\n")]
        if self.name == "scancel":
            self.cancel()
            return []
        if self.name == "sacct" and not self.cluster.has_accounting:
            return mishaps.disabled(self)
        if self.name == "sinfo":
            return [mishaps.out("slurm 22.05.8\n")]
        return [mishaps.out(self.honest())]


class Handler(socketserver.StreamRequestHandler):
    """One program at the other end of the socket."""

    def handle(self):
        slurm = self.server.slurm
        request = json.loads(self.rfile.readline())
        with slurm.lock:
            number = self.server.counted[request["name"]] = self.server.counted.get(request["name"], 0) + 1
        steps = Call(slurm, request, number).steps()
        try:
            self.wfile.write(json.dumps(steps).encode())
        except BrokenPipeError:
            pass  # it was ended meanwhile


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path, handler):
        self.counted = {}
        super().__init__(path, handler)
