"""What live runs cost: calls of squeue, questions to slurmctld, the daemon's memory and CPU.

With the poll settings that Trainyard has where a site says nothing, a hundred thousand recorded runs, and held jobs.
Once while nothing changes, and once while a run is submitted every few seconds, starts and ends.
"""

import time

from harness.figures import Row, at_most, wait_until
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
        wait_until("all were seen", lambda: any(done["live"] >= live for done in passes(world.log())), seconds=300, every=1)
        let_it_calm_down(world)
    pid = world.pid()
    rows = counted(stage, world, pid, f"{live:,} live, nothing changes", live, lambda _: None)
    if live:
        spec = world.spec("short", "cpu", "sleep 1\n")
        rows += counted(
            stage, world, pid, f"{live:,} live, a short run every {EVERY_SECONDS} s", live, lambda _: world.run("submit", spec)
        )
    bar = live <= 1_000
    memory = mebibytes(pid, "VmHWM")
    what = f"{live:,} live: daemon in memory, at most"
    rows.append(at_most(what, memory, 64, "MiB") if bar else Row(what, f"{memory:.1f} MiB"))
    world.stop()
    return rows


def let_it_calm_down(world: World) -> None:
    """The first answers change things, and a fresh daemon has calls saved up: both are over after a minute."""
    since = len(world.calls())
    wait_until("polls have become rare", lambda: quiet_for(world, since), seconds=300, every=1)


def quiet_for(world: World, _: int, seconds: float = 20) -> bool:
    calls = world.home / "calls"
    return time.time() - calls.stat().st_mtime > seconds


def counted(stage: Stage, world: World, pid: int, what: str, live: int, disturb) -> list[Row]:
    seconds = stage.sizes.minutes * 60
    before, log_bytes = len(world.calls()), world.log_bytes()
    stage.slurm.reset_counters()
    watched_process, until, turn = Watched(pid), time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0:
        disturb(turn)
        turn += 1
        time.sleep(min(EVERY_SECONDS, max(0.0, left)))
    percent = watched_process.core_percent()
    made = world.calls()[before:]
    asked = [call for call in made if call[0] == "squeue"]
    rows = []
    if live:
        a_minute = len(asked) / stage.sizes.minutes
        rows.append(at_most(f"{what}: squeue calls a minute", a_minute, CALLS_A_MINUTE, "a minute"))
        rows.append(Row(f"{what}: questions about jobs to slurmctld", f"{stage.slurm.questions() / stage.sizes.minutes:.2f} a minute"))
    cost = f"{what}: daemon and its commands on a CPU"
    rows.append(at_most(cost, percent, 1, "% of a core") if live <= 1_000 else Row(cost, f"{percent:.2f} % of a core"))
    took = sorted(done["elapsed_us"] for done in passes(world.log(log_bytes)))
    if took:
        rows.append(Row(f"{what}: a pass, median of {len(took)}", f"{took[len(took) // 2] / 1000:.1f} ms"))
    return rows
