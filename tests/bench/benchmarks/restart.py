"""A daemon that was killed: how soon the next one answers, and what it asks of Slurm to be on top of things again.

With a hundred thousand recorded and ten thousand live runs.
"""

import time

from harness.figures import Row, at_most, median, milliseconds, wait_until
from harness.stage import Stage
from harness.world import passes

#: Calls are counted until so long after the first pass that knew everything.
COUNTED_SECONDS = 10


def measure(stage: Stage) -> list[Row]:
    live = stage.sizes.live[-1]
    world = stage.with_live(live)
    world.run("daemon", "start")
    ready, caught_up, calls = [], [], []
    for _ in range(5):
        settled(world, 0, live)
        world.kill()
        before, log_bytes, started = len(world.calls()), world.log_bytes(), time.monotonic()
        ready.append(milliseconds(lambda: world.run("list", "--limit", "1")))
        settled(world, log_bytes, live)
        caught_up.append((time.monotonic() - started) * 1000)
        until = time.monotonic() + COUNTED_SECONDS
        wait_until("calls are counted", lambda: time.monotonic() > until, every=0.1)
        calls.append(len(world.calls()) - before)
    world.stop()
    what = f"with {stage.sizes.recorded:,} recorded and {live:,} live"
    return [
        at_most(f"first answer after a SIGKILL, {what}, median of 5", median(ready) / 1000, 1, "s"),
        at_most("… the longest", max(ready) / 1000, 1, "s"),
        Row("… first pass with Slurm's word on all of them", f"{median(caught_up) / 1000:.2f} s"),
        at_most(f"… calls of Slurm's commands until {COUNTED_SECONDS} s later, at most", max(calls), 3, "calls"),
    ]


def settled(world, log_bytes: int, live: int) -> None:
    """Waits for a pass that had squeue's answer."""

    def done() -> bool:
        _, _, after = world.log(log_bytes).rpartition("squeue showed")
        return any(line["live"] >= live for line in passes(after))

    wait_until("a pass with squeue's answer", done, seconds=300)
