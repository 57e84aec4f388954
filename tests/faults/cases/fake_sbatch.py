"""Every way in which sbatch can answer wrongly, or not at all, one after the other."""

import concurrent.futures
import time

from fake.jobs import Fate
from fake.mishaps import SBATCH
from fake.server import FakeSlurm
from fake.truth import doubled, forget_peak, lies, peak_kib
from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates

KEYS = "poll_interval_max = '1s'\npoll_burst = 10\nlost_after = '15s'"

# By how much the daemon may grow while sbatch prints 100 MB.
FLOOD_MIB = 16
# sbatch hangs so long, in a campaign longer than it is waited for; and nothing but the next submission waits behind it.
HANG, HANG_OF_CAMPAIGN, SBATCH_DEADLINE = 6, 300, 180
# Other things get so long while it hangs.
MEANWHILE = 6

NO_HANG = sorted(name for name, mishap in SBATCH.items() if not mishap.is_slow)
FLOODS = ("flood_and_submits", "words_without_end")


def plain(random):
    return Fate(random.uniform(0, 2))


def started(context, **more):
    slurm = FakeSlurm(context.tmp / "slurm", context.seed, fates=plain, **more)
    world = context.world(slurm, KEYS)
    world.start_daemon()
    return slurm, world


def settled(world, slurm, patience=90):
    """Waits until all runs are over, looking all the time; gives the seconds."""
    begun = time.monotonic()
    while world.live():
        problems = lies(world, slurm)
        if time.monotonic() - begun > patience:
            problems.append(f"not resolved within {patience} s: {[dict(row) for row in world.rows('SELECT id, state, message FROM run')]}")
        if problems:
            raise Broken(problems)
        time.sleep(0.1)
    wait_until("the last jobs are over", lambda: not slurm.live(), patience=20)
    return time.monotonic() - begun


def all_completed(world, slurm, once):
    """What must hold at the end where every training ends well."""
    problems = [*lies(world, slurm), *doubled(world, slurm), *check(world, once=once)]
    for row in world.rows("SELECT id, state, reason, message FROM run WHERE state != 'completed'"):
        problems.append(f"run {row['id']} is {row['state']}: {row['reason']}, {row['message']}")
    if problems:
        raise Broken(problems)
    return fates(world)


@case("fake_sbatch", rounds=1, campaign=20)
def fake_sbatch(context):
    """Each way in which sbatch answers wrongly: the run trains once, whether or not there was a job."""
    slurm, world = started(context, accounting=context.random.random() < 0.5)
    try:
        words = context.random.sample(NO_HANG, len(NO_HANG))
        slurm.weather.set({"sbatch": words})
        specs = [world.spec(f"run-{n}", "sleep 0.2") for n in range(len(words))]
        with concurrent.futures.ThreadPoolExecutor(4) as hands:
            said = list(hands.map(lambda spec: world.submit(spec, "--ack-timeout", "1s"), specs))
        if any(one.number is None for one in said):
            raise Broken(f"a run was not accepted: {[one for one in said if one.number is None][0]}")
        resolved = settled(world, slurm)
        return {"runs": len(words), "resolved_s": resolved, **all_completed(world, slurm, once=True)}
    finally:
        slurm.close()


@case("fake_flood", rounds=1, campaign=5)
def fake_flood(context):
    """sbatch prints 100 MB: the daemon grows by 16 MiB at most, and the job is found."""
    slurm, world = started(context)
    try:
        pid = world.daemon_pid()
        world.submit(world.spec("before", ":"))
        settled(world, slurm)
        forget_peak(pid)
        before = peak_kib(pid)
        slurm.weather.set({"sbatch": FLOODS})
        for name in FLOODS:
            world.submit(world.spec(name.replace("_", "-"), ":"), "--ack-timeout", "5s")
        resolved = settled(world, slurm)
        grown = (peak_kib(pid) - before) / 1024
        if grown > FLOOD_MIB or world.daemon_pid() != pid:
            raise Broken(f"the daemon grew by {grown:.1f} MiB, of {before >> 10}")
        return {"grown_mib_s": grown, "resolved_s": resolved, **all_completed(world, slurm, once=True)}
    finally:
        slurm.close()


@case("fake_hang", rounds=1, campaign=1)
def fake_hang(context):
    """sbatch hangs: squeue is asked on time, local runs come and go, runs can be cancelled, and the next one is submitted."""
    slurm, world = started(context)
    try:
        hangs = context.size(HANG, HANG_OF_CAMPAIGN)
        is_over = min(hangs, SBATCH_DEADLINE)
        running = world.submit(world.spec("running", f"sleep {MEANWHILE - 3}")).number
        wait_until("it runs", lambda: world.show(running)["state"] == "running")
        slurm.hang_seconds = hangs
        slurm.weather.set({"sbatch": ["hang_and_submits"]})
        begun = time.monotonic()
        world.submit(world.spec("hanging", ":"), "--ack-timeout", "0s")
        wait_until("sbatch hangs", lambda: slurm.weather.counted("sbatch", "hang_and_submits"))
        behind = world.submit(world.spec("behind", ":"), "--ack-timeout", "0s").number
        local = world.submit(world.spec("local", ":"), "--target", "local", "--wait", timeout=MEANWHILE)
        cancelled = world.submit(world.spec("cancelled", ":"), "--ack-timeout", "0s").number
        world.run("cancel", cancelled)
        ended = wait_until("the running one's end is seen", lambda: world.show(running)["state"] == "completed", patience=MEANWHILE)
        seen = time.monotonic() - begun
        problems = []
        if local.code != 0 or not ended or seen > MEANWHILE:
            problems.append(f"while sbatch hung: local {local}, the end was seen after {seen:.1f} s")
        if slurm.of_run(behind):
            problems.append("a run was submitted while sbatch hung")
        wait_until("the one behind it is submitted", lambda: slurm.of_run(behind), patience=is_over + 10)
        resolved = settled(world, slurm)
        states = {row["id"]: row["state"] for row in world.rows("SELECT id, state FROM run")}
        if states.pop(cancelled) != "cancelled" or set(states.values()) != {"completed"}:
            problems.append(f"{states}, and run {cancelled} was cancelled")
        problems += [*lies(world, slurm), *doubled(world, slurm)]
        if problems:
            raise Broken(problems)
        return {"local_s": local.seconds, "resolved_s": resolved}
    finally:
        slurm.close()
