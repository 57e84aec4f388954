"""What live runs cost: calls of squeue, questions to slurmctld, the daemon's memory and CPU.

With the poll settings that Trainyard has where a site says nothing, a hundred thousand recorded runs, and held jobs.
Once while nothing changes, and once while a run is submitted every few seconds, starts and ends.
"""

import time
from collections.abc import Callable

from harness.figures import Row, at_most, median, number, wait_until
from harness.stage import Stage
from harness.world import Watched, World, mebibytes, passes

CALLS_A_MINUTE = 4
#: Between two submissions of the busy minutes.
EVERY_SECONDS = 5


def measure(stage: Stage) -> list[Row]:
    rows = watched(stage, stage.with_live(0), 0)
    for count in stage.sizes.live:
        rows += watched(stage, stage.with_live(count), count)
    return rows


def watched(stage: Stage, world: World, live: int) -> list[Row]:
    world.run("daemon", "start")
    if live:
        wait_until("all were seen", lambda: all_seen(world, live), seconds=300, every=1)
        let_it_calm_down(world)
    rows = counted(stage, world, f"{live:,} live, nothing changes", live, lambda: None)
    if live:
        spec = world.spec("short", "cpu", "sleep 1\n")
        busy = f"{live:,} live, a short run every {EVERY_SECONDS} s"
        rows += counted(stage, world, busy, live, lambda: world.run("submit", spec))
    what, memory = f"{live:,} live: daemon in memory, the most it ever had", mebibytes(world.pid(), "VmHWM")
    rows.append(at_most(what, memory, 64, "MiB") if live <= 1_000 else Row(what, f"{memory:.1f} MiB"))
    world.stop()
    return rows


def all_seen(world: World, live: int) -> bool:
    return any(done["live"] >= live for done in passes(world.log()))


def let_it_calm_down(world: World) -> None:
    """The first answers change things, and a fresh daemon has calls saved up: both are soon over."""

    def rare() -> bool:
        calls = world.calls("squeue")
        return bool(calls) and time.time() - calls[-1] > 20

    wait_until("polls have become rare", rare, seconds=300, every=1)


def counted(stage: Stage, world: World, what: str, live: int, disturb: Callable[[], object]) -> list[Row]:
    minutes = stage.sizes.minutes
    log_bytes, since = world.log_bytes(), time.time()
    stage.slurm.reset_counters()
    process = Watched(world.pid())
    while (left := since + minutes * 60 - time.time()) > 0:
        disturb()
        time.sleep(min(EVERY_SECONDS, left))
    percent, questions = process.core_percent(), stage.slurm.questions()
    calls = [at for at in world.calls("squeue") if at >= since]
    rows = []
    if live:
        rows.append(at_most(f"{what}: calls of squeue", len(calls) / minutes, CALLS_A_MINUTE, "a minute"))
        busiest = max((sum(at <= call < at + 60 for call in calls) for at in calls), default=0)
        rows.append(Row("… in the busiest minute", f"{busiest}"))
        rows.append(Row("… questions about jobs that came to slurmctld", f"{number(questions / minutes)} a minute"))
    cost = f"{what}: CPU of the daemon and its commands"
    unit = "% of a core"
    rows.append(at_most(cost, percent, 1, unit) if live <= 1_000 else Row(cost, f"{number(percent)} {unit}"))
    took = [done["elapsed_us"] / 1000 for done in passes(world.log(log_bytes))]
    if took:
        rows.append(Row(f"… a pass, median of {len(took)}", f"{number(median(took))} ms"))
    return rows
