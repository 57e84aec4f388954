"""sacct, scancel and scontrol misbehave: what has left the queue ends as it ended, and what is cancelled does end."""

import time

from fake.jobs import Fate
from fake.mishaps import SACCT, SCANCEL, SCONTROL
from fake.server import FakeSlurm
from fake.truth import doubled, is_done, lies, records
from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates

KEYS = "poll_interval_max = '1s'\npoll_burst = 10\nlost_after = '60s'"

LIES_OF_SACCT = sorted(name for name, mishap in SACCT.items() if not mishap.is_slow)
FAULTS_OF_SCANCEL = sorted(name for name, mishap in SCANCEL.items() if not mishap.is_slow and name != "does_nothing")
FAULTS_OF_SCONTROL = sorted(name for name, mishap in SCONTROL.items() if not mishap.is_slow and name not in ("late", "not_utf8"))


def look_until(world, slurm, what, condition, patience):
    """Waits for a condition, and looks all the time whether what is recorded is true."""
    deadline = time.monotonic() + patience
    while not condition():
        problems = lies(world, slurm)
        if time.monotonic() > deadline:
            problems.append(f"not within {patience} s: {what}: {[(row['id'], row['state'], row['message']) for row in records(world)]}")
        if problems:
            raise Broken(problems)
        time.sleep(0.1)


def expected(slurm, row):
    """What a run's end has to be, by the last of its jobs and what its script told before that was over."""
    job = slurm.of_run(row["id"])[-1]
    if is_done(row, job):
        return "completed"
    return {"COMPLETED": "completed", "CANCELLED": "cancelled"}.get(job.state, "failed")


def ends_of(random):
    """Many ends, and nothing that brings a run back."""
    end = random.choice(["", "", "", "TIMEOUT", "OUT_OF_MEMORY", "CANCELLED by 1000"])
    after = random.choice([random.uniform(0.2, 0.6), None])
    return Fate(random.uniform(0, 0.5), end, after)


@case("fake_accounts", rounds=1, campaign=20)
def fake_accounts(context):
    """sacct lies in every way about jobs that slurmctld has forgotten: each run ends as its job did, and only then."""
    slurm = FakeSlurm(context.tmp / "slurm", context.seed, min_job_age=0.05, fates=ends_of)
    random = context.random
    try:
        world = context.world(slurm, KEYS)
        world.start_daemon()
        slurm.weather.set({"sacct": random.sample(LIES_OF_SACCT, len(LIES_OF_SACCT))})
        runs = []
        for number in range(context.size(8, 16)):
            script = f"sleep {random.uniform(0.1, 1):.1f}; {random.choice([':', ':', 'exit 3', 'kill -KILL $$'])}"
            runs.append(world.submit(world.spec(f"run-{number}", script), "--ack-timeout", "3s").number)
            wait_until("its job is over", lambda: lies(world, slurm) or not slurm.live())
        look_until(world, slurm, "all are over", lambda: world.live() == 0, 60)
        problems = [*lies(world, slurm), *doubled(world, slurm), *check(world, once=False, trained=False)]
        for row in records(world):
            if row["state"] != expected(slurm, row):
                problems.append(f"run {row['id']} is {row['state']} ({row['message']}), and its job {slurm.of_run(row['id'])[-1].now}")
        if problems:
            raise Broken(problems)
        return {"lies": sum(slurm.weather.counted("sacct", word) for word in LIES_OF_SACCT), **fates(world)}
    finally:
        slurm.close()


def held(random):
    """Every other job waits for ever."""
    held.turn = not getattr(held, "turn", False)
    return Fate(0.0 if held.turn else 1000.0)


@case("fake_cancel", rounds=1, campaign=5)
def fake_cancel(context):
    """scontrol tells nothing at first, and scancel fails in every way: no run is shown as cancelled before its job is."""
    slurm = FakeSlurm(context.tmp / "slurm", context.seed, fates=held)
    random = context.random
    try:
        world = context.world(slurm, KEYS)
        slurm.weather.set({
            "scontrol": random.sample(FAULTS_OF_SCONTROL, 3),
            "scancel": random.sample(FAULTS_OF_SCANCEL, len(FAULTS_OF_SCANCEL)) + (["does_nothing"] if context.campaign else []),
        })
        world.start_daemon()
        runs = [world.submit(world.spec(f"run-{n}", "sleep 100"), "--ack-timeout", "3s").number for n in range(6)]
        look_until(world, slurm, "half of them run", lambda: [row["state"] for row in records(world)].count("running") == 3, 40)
        # The first poll asks it, and nobody is in a hurry for one: scripts have told that they run.
        def asked_in_vain():
            return sum(slurm.weather.counted("scontrol", word) for word in FAULTS_OF_SCONTROL)
        look_until(world, slurm, "scontrol was asked in vain", asked_in_vain, 40)
        faults = asked_in_vain()
        for run in runs:
            world.run("cancel", run)
        # One scancel that says that it did, and did not, is found out by the patience of a stop: a minute.
        look_until(world, slurm, "all are cancelled", lambda: world.live() == 0, 120 if context.campaign else 45)
        problems = [*lies(world, slurm), *check(world, once=False, trained=False)]
        problems += [f"run {row['id']} is {row['state']}" for row in records(world) if row["state"] != "cancelled"]
        problems += [f"job {job.id} lives" for job in slurm.live()]
        if problems:
            raise Broken(problems)
        faults += sum(slurm.weather.counted("scancel", word) for word in FAULTS_OF_SCANCEL)
        return {"faults": faults, **fates(world)}
    finally:
        slurm.close()
