"""slurmctld is stopped in its tracks while runs are submitted: it holds its connections, answers nobody, and goes on later."""

import threading
import time

from lib.cases import Broken, case
from lib.invariants import check, fates

RUNS = 20
FROZEN_SECONDS = 15
RESOLVED_SECONDS = 120

# What a cluster has that says nothing, for the figure that counts; faster ones for a short round.
SLOW = "poll_interval = '30s'\nin_doubt_wait = '60s'"
FAST = "poll_interval = '1s'\nin_doubt_wait = '5s'"


@case("frozen", rounds=1, campaign=20)
def frozen(context):
    """slurmctld is SIGSTOPped for 15 s during 20 submissions."""
    slurm = context.slurm()
    world = context.world(slurm, keys=SLOW if context.campaign else FAST)
    spec = world.spec("frozen", "sleep 0.2")
    moments = [context.random.uniform(0, 6) for _ in range(RUNS)]
    freezes_at = context.random.uniform(0, 5)
    began = time.monotonic()

    def submit(number, moment):
        time.sleep(moment)
        world.submit(spec, key=f"key-{number}")

    threads = [threading.Thread(target=submit, args=pair) for pair in enumerate(moments)]
    for thread in threads:
        thread.start()
    time.sleep(freezes_at)
    slurm.daemon("freeze")
    time.sleep(FROZEN_SECONDS)
    slurm.daemon("thaw")
    thawed = time.monotonic()
    for thread in threads:
        thread.join()
    # Resolved: it is known whether there is a job. Over: and how that went.
    resolved = None
    while resolved is None or world.live():
        waiting = world.rows("SELECT count(*) AS n FROM run WHERE state IN ('pending', 'submitting')")[0]["n"]
        if not waiting and resolved is None:
            resolved = time.monotonic() - thawed
        if time.monotonic() - thawed > 2 * RESOLVED_SECONDS:
            break
        time.sleep(0.2)
    over = time.monotonic() - thawed
    problems = check(world)
    if len(world.acknowledged) != RUNS:
        problems.append(f"{len(world.acknowledged)} of {RUNS} submissions were told a number")
    if fates(world).get("completed") != RUNS:
        ended = world.rows("SELECT id, state, reason, message FROM run WHERE state <> 'completed'")
        problems.append(f"not every run completed: {[tuple(row) for row in ended]}")
    if over > RESOLVED_SECONDS:
        problems.append(f"not all runs were over within {RESOLVED_SECONDS} s after the thaw: {over:.0f} s, {fates(world)}")
    if problems:
        raise Broken(problems)
    return {"submissions": RUNS, **fates(world), "resolved_s": resolved, "over_s": over, "took_s": thawed - began}
