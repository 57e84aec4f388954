"""An answer of squeue's with a hundred thousand jobs: reading, matching, deciding and recording beside squeue's own time.

All times are of the same polls: the daemon notes them in its log. Jobs of ours among them change between two polls.
"""

from harness.figures import Row, median, number, ratio, wait_until
from harness.stage import Stage
from harness.world import fields

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
    few = polls(stage, world, rounds, stage.live_jobs[: sizes.changed])
    all_of_them = polls(stage, world, 2, stage.live_jobs)
    world.stop()
    squeue = median([poll["squeue_us"] for poll in few]) / 1000
    rows = [
        Row("jobs that squeue shows", number(few[-1]["rows"]), "of ours and live: " + number(live)),
        ratio(
            f"all of ours: read, match, decide, record; {sizes.changed:,} changed; median of {rounds}",
            median([ours(poll) for poll in few]) / 1000,
            squeue,
            "squeue",
            unit="ms",
            bar=0.1,
            aim=0.05,
        ),
    ]
    parts = {"read": "read_us", "match": "match_us", "recall": "recall_us", "the pass without squeue": "pass_us"}
    parts |= {"of which recorded": "record_us"}
    for name, key in parts.items():
        rows.append(ratio(f"… {name}", median([poll[key] for poll in few]) / 1000, squeue, "squeue", unit="ms"))
    rows.append(
        ratio(
            f"all of ours when all {live:,} changed",
            median([ours(poll) for poll in all_of_them]) / 1000,
            median([poll["squeue_us"] for poll in all_of_them]) / 1000,
            "squeue",
            unit="ms",
        )
    )
    return rows


def ours(poll: dict[str, int]) -> int:
    return poll["read_us"] + poll["match_us"] + poll["pass_us"]


def fill_up(stage: Stage) -> None:
    missing = stage.sizes.jobs - stage.slurm.jobs()
    if missing > 0:
        stage.slurm.hold_many(missing)


def polls(stage: Stage, world, rounds: int, jobs: list[int]) -> list[dict[str, int]]:
    """Changes these jobs and takes the poll that shows it, so many times."""
    taken = []
    for index in range(rounds):
        log_bytes = world.log_bytes()
        stage.slurm.change(VERBS[index % 2], jobs)
        found: dict[str, int] = {}

        def seen() -> bool:
            found.update(poll_that_changed(world.log(log_bytes), len(jobs)))
            return bool(found)

        wait_until(f"a poll that shows {len(jobs)} changes", seen, seconds=300, every=0.2)
        taken.append(found)
    return taken


def poll_that_changed(text: str, changes: int) -> dict[str, int]:
    """The figures of a poll whose pass decided so much; nothing when there is none. squeue is in the pass's time only
    when it answered within it."""
    poll: dict[str, int] = {}
    for line in text.splitlines():
        if "squeue showed" in line:
            poll = fields(line)
        elif poll and "a pass over" in line:
            done = fields(line)
            if done["decided"] < changes:
                continue
            looked = done["look_us"]
            asked = poll["squeue_us"] + poll["read_us"] + poll["match_us"]
            # The pass waited for the poll, or took its answer up from an earlier one.
            waited = asked if looked >= asked else 0
            return {**poll, **done, "pass_us": done["elapsed_us"] - waited}
    return {}
