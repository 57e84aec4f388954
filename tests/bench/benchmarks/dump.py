"""An answer of squeue's with a hundred thousand jobs: reading, deciding and recording beside squeue's own time.

All times are of the same polls: the daemon notes them in its log. Jobs of ours among them change between two polls.
"""

from harness.figures import Row, median, number, ratio, wait_until
from harness.stage import Stage
from harness.world import World, fields

#: One after the other changes why jobs wait, and so what is recorded of them.
VERBS = ("hold", "uhold")


def measure(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    live = sizes.live[-1]
    world = stage.with_live(live)
    fill_up(stage)
    sooner = 'poll_interval = "3s"\npoll_interval_max = "3s"\npoll_burst = 1\n'
    site = world.home / "site.toml"
    site.write_text(site.read_text().replace("[cluster.test]\n", f"[cluster.test]\n{sooner}"))
    world.run("daemon", "start")
    rounds = max(4, min(20, sizes.rounds // 10))
    few = polls(stage, world, rounds)
    absence = poll_after_absence(stage, world)
    world.stop()
    squeue = median([poll["squeue_us"] for poll in few]) / 1000
    rows = [
        Row("jobs that squeue shows", number(few[-1]["rows"]), "of ours and live: " + number(live)),
        ratio(
            f"read, decide and record; {sizes.changed:,} changed; median of {rounds}",
            median([ours(poll) for poll in few]) / 1000,
            squeue,
            "squeue",
            unit="ms",
            bar=0.1,
            aim=0.05,
        ),
    ]
    parts = {"reading alone": "read_us", "the pass that takes it up": "elapsed_us", "its recording": "record_us"}
    for name, key in parts.items():
        rows.append(ratio(f"… {name}", median([poll[key] for poll in few]) / 1000, squeue, "squeue", unit="ms"))
    rows.append(
        ratio(
            f"the same when all {live:,} changed during an absence",
            ours(absence) / 1000,
            absence["squeue_us"] / 1000,
            "squeue",
            unit="ms",
        )
    )
    return rows


def ours(poll: dict[str, int]) -> int:
    return poll["read_us"] + poll["elapsed_us"]


def fill_up(stage: Stage) -> None:
    missing = stage.sizes.jobs - stage.slurm.jobs()
    if missing > 0:
        stage.slurm.hold_many(missing)


def polls(stage: Stage, world: World, rounds: int) -> list[dict[str, int]]:
    """Changes some of our jobs and takes the poll that shows it, so many times. A poll that came in the middle of the
    change shows a part of it and does not count."""
    jobs = stage.live_jobs[: stage.sizes.changed]
    taken: list[dict[str, int]] = []
    for turn in range(3 * rounds):
        log_bytes = world.log_bytes()
        stage.slurm.change(VERBS[turn % 2], jobs)
        shown = wait_for_changes(world, log_bytes, len(jobs))
        taken += [poll for poll in shown if poll["decided"] >= len(jobs)]
        if len(taken) >= rounds:
            return taken[:rounds]
    raise RuntimeError(f"only {len(taken)} of {3 * rounds} changes were shown by one poll")


def poll_after_absence(stage: Stage, world: World) -> dict[str, int]:
    """All our jobs change while no daemon is there: the next one finds it in its first poll."""
    world.stop()
    stage.slurm.change(VERBS[0], stage.live_jobs)
    log_bytes = world.log_bytes()
    world.run("daemon", "start")
    return wait_for_changes(world, log_bytes, len(stage.live_jobs))[-1]


def wait_for_changes(world: World, log_bytes: int, changes: int) -> list[dict[str, int]]:
    """Waits until so much was decided, and gives the polls that led to it."""
    shown: list[dict[str, int]] = []

    def all_shown() -> bool:
        shown[:] = taken_up(world.log(log_bytes))
        return sum(poll["decided"] for poll in shown) >= changes

    wait_until(f"polls that show {changes} changes", all_shown, seconds=120, every=0.2)
    return shown


def taken_up(text: str) -> list[dict[str, int]]:
    """The polls in the log that showed something new, each with the figures of the pass that took it up: the first that
    decided anything after it. A pass that had stopped waiting ends in between."""
    polls, poll = [], {}
    for line in text.splitlines():
        if "squeue showed" in line:
            poll = fields(line)
        elif poll and "a pass over" in line:
            done = fields(line)
            if not done["decided"]:
                continue
            # A pass waits for squeue for a while; its answer is read meanwhile, which is told apart.
            done["elapsed_us"] -= done["wait_us"]
            polls.append({**poll, **done})
            poll = {}
    return polls
