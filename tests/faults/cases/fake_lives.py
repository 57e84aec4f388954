"""Whole lives of runs on a fake Slurm in a storm: half of all calls go wrong, at random."""

import concurrent.futures
import time

from fake.server import FakeSlurm
from fake.truth import doubled, lies, peak_kib
from fake.weather import storm
from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates

# Seconds that the storm lasts, and within which all is resolved behind it.
STORM = 8
CLEAR = 75
# The daemon never has more memory than this, whatever it is told.
PEAK_MIB = 80

# A job that is requeued goes on; in a campaign what is preempted for good comes back too, after the backoff.
RESTARTS = "[failure]\nmax_restarts = 3\nrestart_on = ['node_failure']"
RESTARTS_OF_CAMPAIGN = RESTARTS.replace("['node_failure']", "['node_failure', 'preempted']")
KEYS = "poll_interval_max = '1s'\npoll_burst = 10\nlost_after = '15s'"


def trainings(random, count):
    """What the runs do: some fail by themselves."""
    ends = random.choices(["", "exit 3", "kill -KILL $$"], [80, 15, 5], k=count)
    return [f"sleep {random.uniform(0.1, 4):.2f}; {end}" for end in ends]


def submit_all(world, random, count, restarts):
    """Submits by several hands at once, in two bursts."""
    specs = [world.spec(f"run-{n}", script, restarts) for n, script in enumerate(trainings(random, count))]
    half = count // 2
    with concurrent.futures.ThreadPoolExecutor(3) as hands:
        said = list(hands.map(lambda spec: world.submit(spec, "--ack-timeout", "1s"), specs[:half]))
        time.sleep(random.uniform(1, 4))
        said += hands.map(lambda spec: world.submit(spec, "--ack-timeout", "1s"), specs[half:])
    lost = [one for one in said if one.number is None]
    if lost:
        raise Broken(f"a run was not accepted: {lost[0]}")


def watch(world, slurm, seconds, pid, until=lambda: False):
    """Looks again and again whether what is recorded is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not until():
        problems = lies(world, slurm)
        if world.daemon_pid() != pid:
            problems.append("the daemon died")
        if problems:
            raise Broken(problems)
        time.sleep(0.1)


@case("fake_lives", rounds=2, campaign=60)
def fake_lives(context):
    """Runs live and die on a Slurm that lies half of the time; nothing false is ever shown."""
    random, count = context.random, context.size(10, 16)
    slurm = FakeSlurm(
        context.tmp / "slurm", context.seed, accounting=context.round % 2 == 1, min_job_age=random.choice([5, 300])
    )
    slurm.has_forgers = True
    try:
        return play(context, slurm, random, count)
    finally:
        slurm.close()


def play(context, slurm, random, count):
    world = context.world(slurm, KEYS)
    # A slurmctld that was away is tried again after ten seconds: too long for a short round, and fake_sbatch has it.
    slurm.weather.set(storm(random, without=() if context.campaign else ("away",)))
    world.start_daemon()
    pid = world.daemon_pid()
    with concurrent.futures.ThreadPoolExecutor(1) as background:
        restarts = RESTARTS_OF_CAMPAIGN if context.campaign else RESTARTS
        submitting = background.submit(submit_all, world, random, count, restarts)
        watch(world, slurm, STORM, pid)
        submitting.result()
    for run in random.sample(range(1, count + 1), 2):
        world.run("cancel", run)
    bad = slurm.weather.bad()
    slurm.weather.clear()
    cleared = time.monotonic()
    watch(world, slurm, CLEAR, pid, until=lambda: world.live() == 0)
    resolved = time.monotonic() - cleared
    wait_until("the last jobs are over", lambda: not slurm.live(), patience=20)
    problems = [*lies(world, slurm), *doubled(world, slurm), *check(world, once=False, trained=False)]
    peak = peak_kib(pid) >> 10
    if peak > PEAK_MIB:
        problems.append(f"the daemon had {peak} MiB")
    if problems:
        raise Broken(problems)
    return {"runs": count, "bad_calls": bad, "resolved_s": resolved, "peak_mib_s": float(peak), **fates(world)}
