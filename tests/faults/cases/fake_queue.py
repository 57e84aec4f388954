"""squeue lies, for longer than a job may be missing: nothing may come of it as long as the lie can be known."""

import time

from fake.jobs import Fate
from fake.server import FakeSlurm
from fake.truth import doubled, lies, peak_kib, records, stale
from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates

# A missing job counts as lost after this; the lie lasts longer.
LOST_AFTER = 4
KEYS = f"poll_interval_max = '1s'\npoll_burst = 10\nlost_after = '{LOST_AFTER}s'"

# squeue may say 64 MiB, as 150,000 jobs do. What the program itself takes, which is more without optimisation, is none of it.
GROWN_MIB = 80

# Lies after which jobs are missing; those of them that never show a job of ours; and what is no answer at all.
MISSING = ("empty", "header_only", "cut_at_a_line", "an_hour_old", "short_rows", "not_utf8", "banner")
BLIND = ("empty", "header_only")
SILENT = ("denied", "killed", "error_with_exit_0", "junk")


def fates_of(random):
    """It waits for a moment, or not at all, and its script ends it."""
    return Fate(random.choice([0.0, 0.5]))


@case("fake_queue", rounds=1, campaign=20)
def fake_queue(context):
    """squeue exits 0 and shows nothing, half, or yesterday: no run changes, doubt waits, and stale_since is shown."""
    slurm = FakeSlurm(
        context.tmp / "slurm", context.seed, accounting=context.random.random() < 0.5, min_job_age=300, fates=fates_of
    )
    try:
        return play(context, slurm)
    finally:
        slurm.close()


def play(context, slurm):
    world = context.world(slurm, KEYS)
    world.start_daemon()
    pid = world.daemon_pid()
    stop = context.tmp / "stop"
    script = f"until [[ -e {stop} ]]; do read -rt 0.2 <> <(:); done"
    runs = [world.submit(world.spec(f"run-{n}", script)).number for n in range(3)]
    wait_until("all run", lambda: [row["state"] for row in records(world)] == ["running"] * 3)
    # The first lie meets jobs so young that a slurmctld which was started again might have forgotten them.
    words = ["empty", *context.random.sample(MISSING, len(MISSING) if context.campaign else 1), context.random.choice(SILENT)]
    doubtful = []
    for number, word in enumerate(words):
        slurm.weather.set({"sbatch": ["no_id"]})
        slurm.weather.keep("squeue", word)
        spec = world.spec(f"doubtful-{number}", "sleep 0.1")
        doubtful.append(world.submit(spec, "--ack-timeout", "0s").number)
        lasts = LOST_AFTER + 3 if word in BLIND else LOST_AFTER
        during(world, slurm, pid, word, runs, lasts)
        slurm.weather.clear()
        wait_until(f"{word} is over", lambda: not any(stale(row) for row in records(world)), patience=10)
    stop.touch()
    wait_until("all are over", lambda: world.live() == 0 and not slurm.live(), patience=40)
    return told(world, slurm, pid, doubtful)


def during(world, slurm, pid, word, runs, seconds):
    """While squeue lies: what runs is shown as running, and that nobody can be believed is shown too."""
    deadline, was_stale = time.monotonic() + seconds, set()
    while time.monotonic() < deadline:
        problems = lies(world, slurm)
        rows = records(world)
        problems += [f"{word}: run {row['id']} is {row['state']}" for row in rows if row["id"] in runs and row["state"] != "running"]
        was_stale |= {row["id"] for row in rows if stale(row)}
        if world.daemon_pid() != pid:
            problems.append(f"{word}: the daemon died")
        if problems:
            raise Broken(problems)
        time.sleep(0.1)
    if word in (*BLIND, *SILENT) and not was_stale >= set(runs):
        raise Broken(f"{word}: stale_since was shown of the runs {was_stale}, not of {runs}")


def told(world, slurm, pid, doubtful):
    problems = [*lies(world, slurm), *doubled(world, slurm), *check(world, once=True)]
    for row in records(world):
        if row["state"] != "completed":
            problems.append(f"run {row['id']} is {row['state']}: {row['message']}")
    # Every answer in which its job was missing was known to be none.
    for run in doubtful:
        if len(slurm.of_run(run)) > 1:
            problems.append(f"run {run} was submitted again, on the word of an answer that could not be believed")
    if problems:
        raise Broken(problems)
    return {"lies": len(doubtful), "peak_mib_s": peak_kib(pid) / 1024, **fates(world)}


@case("fake_queue_flood", rounds=1, campaign=3)
def fake_queue_flood(context):
    """squeue, sacct and scontrol print 100 MB: no memory without end, no change, and good answers are heard behind them."""
    slurm = FakeSlurm(context.tmp / "slurm", context.seed, min_job_age=1, fates=fates_of)
    try:
        world = context.world(slurm, KEYS.replace(f"{LOST_AFTER}s", "60s"))
        slurm.weather.set({"scontrol": ["flood"], "squeue": ["flood", "flood_of_words"], "sacct": ["flood_of_words", "flood"]})
        world.start_daemon()
        pid = world.daemon_pid()
        before = peak_kib(pid) / 1024
        run = world.submit(world.spec("flooded", "sleep 1"), "--ack-timeout", "5s").number
        wait_until("it is over", lambda: lies(world, slurm) or world.show(run)["state"] == "completed", patience=40)
        problems, grown = [*lies(world, slurm), *check(world)], peak_kib(pid) / 1024 - before
        floods = sum(slurm.weather.counted(*which) for which in (("scontrol", "flood"), ("squeue", "flood")))
        if grown > GROWN_MIB or floods < 2 or world.daemon_pid() != pid:
            problems.append(f"the daemon took {grown:.0f} MiB more for {floods} floods")
        if problems:
            raise Broken(problems)
        return {"grown_mib_s": grown}
    finally:
        slurm.close()
