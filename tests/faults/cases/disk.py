"""The daemon's disk is full, or answers EIO, at random changes of its state directory and its run directories."""

import subprocess
import threading
import time

from lib.cases import Broken, case
from lib.invariants import check, fates
from lib.slurm import ROOT

SUBMITTERS = 2

# What `submit` may say while the disk fails: done, the machine failed, no daemon, not acknowledged yet.
CODES = (0, 5, 8, 70)

# Notes what it was called for before it calls: that must have been recorded by then.
SBATCH = """#!/bin/bash
for word in "$@"; do
  [[ $word != --job-name=* ]] || echo "${{word##*.}}" >>{log}
done
exec {real} "$@"
"""


class Disk:
    """A daemon on a disk that can be told to fail."""

    def __init__(self, context, slurm):
        self.world = context.world(slurm)
        home = self.world.home
        self.control, self.called, library = home / "control", home / "called", context.tmp / "failing.so"
        source = ROOT / "tests/faults/lib/failing.c"
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        sbatch = home / "sbatch"
        sbatch.write_text(SBATCH.format(log=self.called, real=slurm.commands / "sbatch"))
        sbatch.chmod(0o755)
        self.world.write_site(f"sbatch = '{sbatch}'")
        self.preload = {"LD_PRELOAD": str(library), "FAILING_CONTROL": str(self.control)}
        self.below = str(home)
        self.daemons = 0

    def serve(self):
        """Makes sure that the daemon is one whose disk can fail."""
        world = self.world
        if world.served and world.served[-1].poll() is None:
            return
        # Whoever submits may have started one that cannot.
        world.kill_daemon()
        child = world.serve(FAILING_DIR=self.below, **self.preload)
        self.daemons += 1
        deadline = time.monotonic() + 20
        while child.poll() is None and time.monotonic() < deadline and world.run("daemon", "status").code != 0:
            time.sleep(0.05)

    def fail(self, number, error, how):
        new = self.control.with_suffix(".new")
        new.write_text(f"{number} {error} {how}\n")
        new.rename(self.control)

    def mend(self):
        self.control.unlink(missing_ok=True)

    def failures(self):
        log = self.control.with_name("control.log")
        return log.read_text().splitlines() if log.exists() else []


def submit_all(world, spec, keys, odd, stop):
    """Hands in each key until it has a number."""
    for key in keys:
        while not stop.is_set():
            said = world.submit(spec, "--ack-timeout", "2s", key=key)
            if said.code not in CODES:
                odd.append(f"submit ended with {said.code}: {said.stderr.strip()}")
            if said.number is not None:
                break
            time.sleep(0.05)


def untold(disk):
    """sbatch was called for submissions that nobody has recorded."""
    if not disk.called.exists():
        return ["sbatch was never called"]
    called = set(disk.called.read_text().split())
    known = {row["token"] for row in disk.world.rows("SELECT token FROM submission")}
    return [f"sbatch was called for {token}, which is not recorded" for token in sorted(called - known)]


@case("disk", rounds=1, campaign=10)
def disk(context):
    """ENOSPC, EIO and short writes at random changes of the daemon's files."""
    slurm, faults, runs = context.slurm(), context.size(15, 100), context.size(40, 300)
    one = Disk(context, slurm)
    world, odd, stop = one.world, [], threading.Event()
    one.serve()
    spec = world.spec("disk", "sleep 0.1")
    shares = [[f"key-{number}" for number in range(share, runs, SUBMITTERS)] for share in range(SUBMITTERS)]
    threads = [threading.Thread(target=submit_all, args=(world, spec, share, odd, stop)) for share in shares]
    for thread in threads:
        thread.start()
    for _ in range(faults):
        one.serve()
        number = int(2 ** context.random.uniform(0, 6))
        one.fail(number, context.random.choice(("ENOSPC", "EIO")), context.random.choice(("once", "on", "short")))
        time.sleep(context.random.uniform(0.1, 1.5))
        one.mend()
        time.sleep(context.random.uniform(0, 0.3))
    one.serve()
    for thread in threads:
        thread.join(timeout=120)
    stop.set()
    settled = world.settle(120)
    problems = odd + untold(one) + check(world)
    if settled is None or len(world.numbers_of_key) != runs:
        problems.append(f"not everything went on: {len(world.numbers_of_key)} of {runs} accepted, {fates(world)}")
    failed = one.failures()
    if not failed:
        problems.append("nothing failed at all")
    if problems:
        raise Broken(problems)
    return {"faults": faults, "failed_calls": len(failed), "runs": len(world.rows("SELECT id FROM run")), "daemons": one.daemons,
            **fates(world), "settled_s": settled}
