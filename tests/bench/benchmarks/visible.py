"""From a training's own start and end to `show` telling it: through the inbox, and without one through squeue alone.

The trainings write down when they begin and end. Slurm is asked every 30 seconds, as where a site says nothing.
"""

import pathlib
import time

from harness.figures import Row, at_most, median, percentile, wait_until
from harness.stage import Stage
from harness.world import World

INTERVAL_SECONDS = 30
#: Written beside and renamed, so that whoever sees the file sees all of it.
STAMP = 'at="{home}/$TRAINYARD_RUN_ID.{what}"; date +%s.%N >"$at.new"; mv "$at.new" "$at"\n'
BEGUN = ("running", "finishing", "completed")
ENDED = ("finishing", "completed")


def measure(stage: Stage) -> list[Row]:
    count = stage.sizes.trainings
    start, end, confirmed = through_inbox(stage.world("visible"), count)
    interval = f"poll interval: {INTERVAL_SECONDS} s"
    rows = []
    for what, lags in (("start to `running`", start), ("end to `finishing`", end)):
        # A script tells the start just before it starts the training: that can show before the training's own stamp.
        rows.append(at_most(f"{what}, median of {count}", max(0.0, median(lags)), 2, "s", against=interval))
        rows.append(at_most("… 95th percentile", max(0.0, percentile(lags, 95)), 2, "s", against=interval))
    rows.append(Row("end to `completed`, which Slurm confirms, median", f"{median(confirmed):.2f} s", interval))
    for what, lags in zip(("start to `running`", "end to `completed`"), without_inbox(stage, count)):
        title = f"without an inbox: {what}, median of {count}"
        for name, lag in ((title, median(lags)), ("… the longest", max(lags))):
            rows.append(Row(name, f"{lag:.1f} s", interval, lag / INTERVAL_SECONDS))
    return rows


def training(world: World, seconds: int) -> str:
    stamps = [STAMP.format(home=world.home, what=what) for what in ("began", "ended")]
    return f"{stamps[0]}sleep {seconds}\n{stamps[1]}"


def stamp(world: World, run: int, what: str) -> float:
    path: pathlib.Path = world.home / f"{run}.{what}"
    wait_until(f"run {run} has {what}", path.exists)
    return float(path.read_text())


def told(world: World, run: int, states: tuple[str, ...], every: float) -> float:
    """When `show` told one of these states."""
    shown: dict = {}

    def is_told() -> bool:
        shown.update(world.json("show", str(run)))
        return shown["state"] in states or shown["ended_at"] is not None

    try:
        wait_until(f"run {run} is {states}", is_told, seconds=300, every=every)
        told_at = time.time()
        if shown["state"] in states:
            return told_at
        why = f"run {run} is not {states}"
    except TimeoutError as error:
        why = str(error)
    raise RuntimeError(f"{why}: {shown}\n{world.run('events', str(run))}")


def through_inbox(world: World, count: int) -> tuple[list[float], list[float], list[float]]:
    spec = world.spec("seen", "cpu", training(world, 2))
    start, end, confirmed = [], [], []
    for _ in range(count):
        run = int(world.run("submit", spec))
        shown = [told(world, run, states, 0.02) for states in (BEGUN, ENDED, ("completed",))]
        start.append(shown[0] - stamp(world, run, "began"))
        end.append(shown[1] - stamp(world, run, "ended"))
        confirmed.append(shown[2] - stamp(world, run, "ended"))
    world.stop()
    return start, end, confirmed


def without_inbox(stage: Stage, count: int) -> tuple[list[float], list[float]]:
    """All at once, held at first. Before they are let go, a file takes the inbox's place: no script can write into it."""
    world = stage.world("uninformed")
    spec = world.spec("unseen", "held", training(world, 45))
    runs = [int(world.run("submit", spec)) for _ in range(count)]
    inbox = world.home / "runs/.inbox"
    inbox.rename(inbox.with_name("taken-away"))
    inbox.write_text("")
    jobs = {run: world.json("show", str(run))["attempts"][0]["job_id"] for run in runs}
    begun: dict[int, float] = {}
    ended: dict[int, float] = {}
    let_go = 0
    deadline = time.monotonic() + 600
    next_at = time.monotonic()
    while len(ended) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(ended)} of {count} ended")
        if let_go < count and time.monotonic() >= next_at:
            stage.slurm.ask("scontrol", "release", str(jobs[runs[let_go]]))
            let_go += 1
            # Spread over the poll interval, so that no moment is preferred.
            next_at += 2 * INTERVAL_SECONDS / count
        for run in runs[:let_go]:
            if run in ended:
                continue
            state = world.json("show", str(run))["state"]
            if state in BEGUN:
                begun.setdefault(run, time.time())
            if state in ENDED:
                ended[run] = time.time()
        time.sleep(0.2)
    world.stop()
    starts = [begun[run] - stamp(world, run, "began") for run in runs]
    return starts, [ended[run] - stamp(world, run, "ended") for run in runs]
