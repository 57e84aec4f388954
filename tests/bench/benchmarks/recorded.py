"""`list` and `show` with a hundred thousand recorded runs, and what the daemon weighs then.

Beside the same calls in a world with a thousand: what grows with the record would show. Whole processes are timed.
"""

import subprocess

from harness.figures import Row, at_most, interleaved, median, percentile, ratio
from harness.stage import Stage
from harness.world import mebibytes

CALLS = {
    "`list --limit 50`": ("list", "--limit", "50"),
    "`list --limit 50 --json`": ("list", "--limit", "50", "--json"),
    "`list --state completed --limit 50`": ("list", "--state", "completed", "--limit", "50"),
    "`show`": ("show", "{middle}"),
}


def measure(stage: Stage) -> list[Row]:
    sizes = stage.sizes
    few, many = stage.recorded("few", sizes.few_recorded), stage.large()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    actions = {"true": lambda: subprocess.run(["/bin/true"], **quiet)}
    for world, count in ((few, sizes.few_recorded), (many, sizes.recorded)):
        world.run("daemon", "start")
        for what, words in CALLS.items():
            command = world.command(*(word.format(middle=count // 2) for word in words))
            actions[f"{what} {count}"] = lambda command=command, world=world: subprocess.run(
                command, env=world.environment, **quiet
            )
    times = interleaved(sizes.rounds, actions)
    rows = []
    for what in CALLS:
        of_many, of_few = times[f"{what} {sizes.recorded}"], times[f"{what} {sizes.few_recorded}"]
        name = f"with {sizes.few_recorded:,}"
        title = f"{what} of {sizes.recorded:,}, median"
        rows.append(ratio(title, median(of_many), median(of_few), name, unit="ms", bar=1.2))
        rows.append(ratio("… 95th percentile", percentile(of_many, 95), percentile(of_few, 95), name, unit="ms"))
    rows.append(Row("a process that does nothing", f"{median(times['true']):.2f} ms"))
    pid = many.pid()
    rows.append(at_most("daemon in memory after these calls", mebibytes(pid, "VmRSS"), 64, "MiB"))
    rows.append(at_most("… the most it ever had", mebibytes(pid, "VmHWM"), 64, "MiB"))
    few.stop()
    return rows
