"""Who serves a state directory, and how one that is asked to end does so."""

import os
import signal
import subprocess
import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates
from lib.world import is_gone

from cases.kills import Stream

# Runs a command as if on another machine that sees the same files.
ELSEWHERE = ("unshare", "--uts", "bash", "-c", 'hostname another-node && exec "$@"', "-")

# How long a drain waits for requests and for submissions that are under way; each may take all of it.
DRAIN_SECONDS = 20
AND_MORE_SECONDS = 10


def refused(child, what):
    """A second daemon must end at once, with a conflict."""
    try:
        code = child.wait(20)
    except subprocess.TimeoutExpired:
        return [f"{what} serves beside the first one"]
    return [] if code == 11 else [f"{what} ended with {code}"]


@case("second", rounds=1, campaign=10)
def second(context):
    """A second daemon on the same state directory, also from another machine, and one that takes over."""
    slurm, problems = context.slurm(), []
    world = context.world(slurm)
    # Several at once: one of them serves.
    rivals = [world.serve() for _ in range(4)]
    wait_until("one serves", lambda: world.run("daemon", "status").code == 0)
    wait_until("the others ended", lambda: sum(rival.poll() is None for rival in rivals) == 1, 20)
    problems += [f"a rival ended with {rival.poll()}" for rival in rivals if rival.poll() not in (None, 11)]
    first = next(rival for rival in rivals if rival.poll() is None)
    stream = Stream(context, world, world.spec("second", "sleep 0.2"), context.size(24, 60))
    for thread in stream.threads:
        thread.start()
    while not stream.is_over():
        wrapper, what = context.random.choice((((), "a second daemon"), (ELSEWHERE, "a daemon of another machine")))
        problems += refused(world.serve(wrapper=wrapper), what)
        time.sleep(context.random.uniform(0, 0.3))
    if first.poll() is not None or world.daemon_pid() != first.pid:
        problems.append(f"the first daemon did not stay: {first.poll()}, {world.daemon_pid()}")
    problems += stream.odd
    late = world.submit(world.spec("late", "live 3")).number
    # The first one's machine stands still, and comes back after another has taken over. That one sees neither the socket's
    # listener nor, on many file systems, the lock.
    os.kill(first.pid, signal.SIGSTOP)
    for name in ("daemon.sock", "daemon.lock"):
        (world.state / name).unlink()
    said = world.run("list", wrapper=ELSEWHERE)
    if said.code != 5 or "--take-over" not in said.stderr:
        problems.append(f"list of another machine said {said}")
    taken = world.run("daemon", "start", "--take-over", wrapper=ELSEWHERE)
    lease = (world.state / "lease.json").read_text()
    if taken.code != 0 or "another-node" not in lease:
        problems.append(f"another machine could not take over: {taken}, {lease}")
    wait_until("all is over there", lambda: world.live() == 0)
    os.kill(first.pid, signal.SIGCONT)
    wait_until("the one that lost its lease ended", lambda: first.poll() is not None, 60)
    if world.settle(120) is None:
        problems.append("not all runs were over in time")
    problems += check(world)
    if world.show(late)["state"] != "completed" or set(fates(world)) & {"failed", "cancelled"}:
        problems.append(f"not all completed: {fates(world)}")
    if problems:
        raise Broken(problems)
    return {"rivals": len(world.served) - 1, **fates(world)}


def drained(world, problems):
    """Asks the daemon to end; gives how long that took."""
    pid = world.daemon_pid()
    if pid is None:
        return None
    os.kill(pid, signal.SIGTERM)
    asked = time.monotonic()
    while not is_gone(pid) and time.monotonic() - asked < DRAIN_SECONDS + AND_MORE_SECONDS:
        time.sleep(0.01)
    if not is_gone(pid):
        problems.append(f"a daemon did not end within {DRAIN_SECONDS} + {AND_MORE_SECONDS} s after SIGTERM")
        world.kill_daemon()
    return time.monotonic() - asked


@case("drain", rounds=1, campaign=10)
def drain(context):
    """SIGTERM under load, once while slurmctld is frozen: no accepted request is lost."""
    slurm, problems, took = context.slurm(), [], []
    world = context.world(slurm)
    count, terms = context.size(60, 300), context.size(6, 30)
    stream = Stream(context, world, world.spec("drained", "sleep 0.1"), count)
    for thread in stream.threads:
        thread.start()
    for number in range(terms):
        due = count * number / terms
        wait_until("more is accepted", lambda: stream.accepted >= due or stream.is_over(), pause=0.01)
        time.sleep(context.random.uniform(0, 0.4))
        is_frozen = number == terms // 2
        if is_frozen:
            slurm.daemon("freeze")
            time.sleep(1)
        took.append(drained(world, problems) or 0.0)
        if is_frozen:
            slurm.daemon("thaw")
    for thread in stream.threads:
        thread.join()
    settled = world.settle(240)
    problems += stream.odd + check(world)
    if settled is None or fates(world).get("completed") != count:
        problems.append(f"not all completed: {fates(world)}")
    if problems:
        raise Broken(problems)
    return {"terms": terms, **fates(world), "ended_s": max(took), "settled_s": settled}
