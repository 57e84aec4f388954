"""The daemon is killed at random moments, in a stream of submissions from several people."""

import contextlib
import os
import pathlib
import signal
import threading
import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates
from lib.world import is_gone

SUBMITTERS = 4

# What is killed: the daemon alone, so that its sbatch lives on; both; or only its sbatch.
VARIANTS = ("daemon", "daemon and sbatch", "sbatch")
WEIGHTS = (45, 45, 10)


def children(pid, name):
    """The children of a process with that name."""
    found = []
    with contextlib.suppress(OSError):
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                with contextlib.suppress(OSError):
                    if pathlib.Path(f"/proc/{child}/comm").read_text().strip() == name:
                        found.append(int(child))
    return found


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class Stream:
    """Submitters that hand in runs under keys, each until it is told a number, whatever happens to the daemon."""

    def __init__(self, context, world, spec, count, codes=(0, 5, 8)):
        # A daemon that dies in the middle is told as such (5), before it could say anything at all or later.
        self.world, self.spec, self.codes = world, spec, codes
        self.left = list(range(count))
        self.accepted = 0
        self.tries = 0
        self.odd = []
        self.lock = threading.Lock()
        self.patience = [context.random.choice(("0s", "10s")) for _ in range(count)]
        self.threads = [threading.Thread(target=self.submit_all) for _ in range(SUBMITTERS)]

    def submit_all(self):
        while True:
            with self.lock:
                if not self.left:
                    return
                number = self.left.pop()
            for _ in range(100):
                said = self.world.submit(self.spec, "--ack-timeout", self.patience[number], key=f"key-{number}")
                with self.lock:
                    self.tries += 1
                    if said.code not in self.codes:
                        self.odd.append(f"submit ended with {said.code}: {said.stderr.strip()}")
                if said.number is not None:
                    break
            else:
                self.odd.append(f"key-{number} was not accepted in 100 tries: {said.stderr.strip()}")
            with self.lock:
                self.accepted += 1

    def is_over(self):
        return not any(thread.is_alive() for thread in self.threads)


def kill_often(context, world, stream, count, kills):
    """Kills the daemon `kills` times, spread over the stream of `count` submissions; gives what was killed how often."""
    done, counts = 0, {variant: 0 for variant in VARIANTS}
    while done < kills:
        due = count * done / kills
        while stream.accepted < due and not stream.is_over():
            time.sleep(0.005)
        variant = context.random.choices(VARIANTS, WEIGHTS)[0]
        aims, moment = context.random.random() < 0.6, context.random.random()
        pid = world.daemon_pid()
        if pid is None:
            if stream.is_over():
                world.run("list", "--limit", 1)
            time.sleep(0.005)
            continue
        if aims or variant == "sbatch":
            # While an sbatch is under way, if there is one soon.
            deadline = time.monotonic() + 0.5
            while not children(pid, "sbatch") and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(moment * 0.04)
        else:
            time.sleep(moment * 0.3)
        sbatches = children(pid, "sbatch")
        if variant != "daemon":
            for child in sbatches:
                kill(child)
        if variant == "sbatch":
            counts[variant] += len(sbatches)
            continue
        kill(pid)
        wait_until("the daemon is gone", lambda: is_gone(pid), pause=0.002)
        counts[variant] += 1
        done += 1
    return counts


@case("kills", rounds=1, campaign=10)
def kills(context):
    """SIGKILL of the daemon and its sbatch at random moments in a stream of submissions."""
    slurm = context.slurm()
    world = context.world(slurm, keys="poll_interval = '2s'")
    count, kills_wanted = context.size(200, 1000), context.size(20, 100)
    stream = Stream(context, world, world.spec("killed"), count)
    for thread in stream.threads:
        thread.start()
    counts = kill_often(context, world, stream, count, kills_wanted)
    for thread in stream.threads:
        thread.join()
    settled = world.settle(300)
    problems = list(stream.odd)
    if settled is None:
        problems.append("not all runs were over within 300 s after the last submission")
    problems += check(world)
    ended = fates(world)
    if ended.get("completed") != count:
        problems.append(f"not every run completed: {ended}")
    if problems:
        raise Broken(problems)
    return {
        "submissions": count, "kills": counts["daemon"] + counts["daemon and sbatch"], "with_sbatch": counts["daemon and sbatch"],
        "sbatch_alone": counts["sbatch"], "tries": stream.tries, **ended, "settled_s": settled,
    }
