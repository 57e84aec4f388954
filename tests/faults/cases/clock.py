"""The daemon's clock is stepped by an hour, forth and back, while runs wait, train, end and are in doubt.

libfaketime gives the daemon its wall clock; the monotonic one, and everybody else's, go on as they are.
"""

import pathlib
import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates

KEYS = "poll_interval = '1s'\nin_doubt_wait = '3s'\nsbatch = '{home}/sbatch'"
OFFSETS = (-3600, 0, 3600)

# Ends without a word and without having submitted, once for each file `lose`: the answer is lost, and there is no job.
SBATCH = """#!/bin/bash
if rm {home}/lose 2>/dev/null; then kill -KILL $$; fi
exec {real} "$@"
"""

SETTLED_SECONDS = 90


def library():
    found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        raise RuntimeError("there is no libfaketime: apt-get install faketime")
    return str(found[0])


class Clock:
    """The daemon's wall clock, so many seconds off."""

    def __init__(self, world):
        self.file = world.home / "clock"
        self.steps = 0
        self.set(0)
        self.variables = {
            "LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        }

    def set(self, offset):
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset:+d}s\n")
        new.rename(self.file)
        self.steps += 1


@case("clock", rounds=1, campaign=20)
def clock(context):
    """The daemon's clock is stepped by an hour, forth and back."""
    slurm, problems = context.slurm(), []
    world = context.world(slurm)
    world.write_site(KEYS.format(home=world.home))
    sbatch = world.home / "sbatch"
    sbatch.write_text(SBATCH.format(home=world.home, real=slurm.commands / "sbatch"))
    sbatch.chmod(0o755)
    one, go = Clock(world), world.home / "go"
    daemon = world.serve(**one.variables)
    wait_until("it serves", lambda: world.run("daemon", "status").code == 0)
    waits = world.submit(world.spec("waits", ":", "[compute]\nclass = 'held'")).number
    works = world.submit(world.spec("works", f"until [[ -e {go} ]]; do sleep 0.2; done")).number
    wait_until("it works", lambda: world.show(works)["state"] == "running")
    short = world.spec("short", "sleep 0.5")
    for number in range(context.size(8, 20)):
        one.set(context.random.choice(OFFSETS))
        if number % 4 == 1:
            (world.home / "lose").touch()
        world.submit(short, "--ack-timeout", "3s", key=f"key-{number}")
        time.sleep(context.random.uniform(0, 2))
        states = [world.show(run)["state"] for run in (waits, works)]
        if states != ["queued", "running"]:
            problems.append(f"after step {number} those that wait and work are {states}")
            break
    # Nobody waits for a clock that was ahead: not for the next call of sbatch, which is due in the daemon's future now.
    one.set(OFFSETS[2])
    slurm.daemon("stop")
    away = world.submit(short, "--ack-timeout", "1s", key="away").number
    wait_until("sbatch has given up", lambda: "Unable to contact" in (world.show(away)["message"] or ""), patience=40)
    slurm.up()
    # sacct, whose clock is right, takes no beginning that lies in the future: doubt waits as long as the clock is ahead.
    one.set(context.random.choice(OFFSETS[:2]))
    go.touch()
    slurm.ask("scontrol", "release", str(world.show(waits)["attempts"][-1]["job_id"]))
    settled = world.settle(SETTLED_SECONDS)
    problems += check(world)
    ended = fates(world)
    if settled is None or set(ended) & {"failed", "cancelled"} or daemon.poll() is not None:
        problems.append(f"not all completed under a stepped clock in {SETTLED_SECONDS} s: {ended}, {daemon.poll()}")
    for run in world.list():
        if min(run["elapsed_seconds"], run["waiting_seconds"], run["node_hours"]) < 0:
            problems.append(f"a time that is less than nothing: {run}")
    if problems:
        raise Broken(problems)
    return {"steps": one.steps, **ended, "settled_s": settled}
