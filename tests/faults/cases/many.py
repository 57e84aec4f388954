"""Many live jobs when the daemon starts again: it is ready soon, and asks Slurm no more than it would for one."""

import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check
from lib.shims import Counted

from cases.kills import Stream

READY_SECONDS = 1
CALLS_MAX = 3

# What there may be beside them.
MORE = 1000


def ready(world, count):
    """Starts a daemon; gives the seconds until it answers, and until its list is right."""
    began = time.monotonic()
    said = world.run("daemon", "start")
    if said.code != 0:
        raise Broken(f"the daemon does not start: {said}")
    answers = time.monotonic() - began
    listed = world.run("list", "--limit", 50)
    seconds = time.monotonic() - began
    if listed.code != 0 or len(listed.stdout.splitlines()) < min(count, 50):
        raise Broken(f"the list is not right: {listed}")
    return answers, seconds


@case("many", rounds=1, campaign=1)
def many(context):
    """Hundreds of live jobs, in a campaign 10,000, when the daemon starts again."""
    count, restarts, problems = context.size(300, 10_000), context.size(3, 10), []
    slurm = Counted(context.slurm("--no-accounting", "--jobs", str(count + MORE)), context.tmp)
    world = context.world(slurm, keys="poll_interval = '30s'\nin_doubt_wait = '60s'")
    stream = Stream(context, world, world.spec("many", ":", "[compute]\nclass = 'held'"), count)
    for thread in stream.threads:
        thread.start()
    for thread in stream.threads:
        thread.join()
    wait_until("Slurm has them all", lambda: not world.rows("SELECT 1 FROM run WHERE state <> 'queued' LIMIT 1"), 1800, 1)
    figures = []
    for _ in range(restarts):
        world.kill_daemon()
        began = Counted.now()
        answers, seconds = ready(world, count)
        # Until it has looked at all of them once, and for a while after.
        wait_until("it has asked", lambda: slurm.calls(began, "squeue"), 60)
        time.sleep(2)
        calls = slurm.calls(began)
        figures.append((answers, seconds, len(calls)))
        if seconds > READY_SECONDS:
            problems.append(f"with {count} live jobs the daemon was ready after {seconds:.2f} s")
        if len(calls) > CALLS_MAX:
            problems.append(f"with {count} live jobs a start took {len(calls)} calls of Slurm: {calls}")
    if len(world.list()) != count or world.live() != count:
        problems.append(f"{world.live()} of {count} are live, {len(world.list())} listed")
    problems += stream.odd + check(world, live_allowed=True)
    slurm.ask("scancel", "--user=root")
    if problems:
        raise Broken(problems)
    return {"live": count, "answers_s": max(one for one, _, _ in figures), "ready_s": max(two for _, two, _ in figures),
            "calls": max(calls for _, _, calls in figures)}
