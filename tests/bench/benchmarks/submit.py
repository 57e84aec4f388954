"""`submit` beside a bare sbatch of the same script with the same options, and beside submitit.

Each call is timed as a whole process. All jobs are held, so that nothing starts. The daemon is warm.
"""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable

from harness.figures import Row, interleaved, median, percentile, ratio
from harness.stage import Stage
from harness.world import World

SUBMITIT = "submitit==1.5.4"

#: A process of its own for each job, as with our command line.
ONCE = """
import submitit
executor = submitit.SlurmExecutor(folder="submitit-log")
executor.update_parameters(time=10, job_name="submitit", additional_parameters={"hold": True})
print(executor.submit(print, "trained").job_id)
"""

#: Milliseconds of each submission of one process, after a first one.
MANY = """
import json, sys, time, submitit
executor = submitit.SlurmExecutor(folder="submitit-log")
executor.update_parameters(time=10, job_name="submitit", additional_parameters={"hold": True})
times = []
for _ in range(int(sys.argv[1]) + 1):
    started = time.perf_counter()
    executor.submit(print, "trained")
    times.append((time.perf_counter() - started) * 1000)
print(json.dumps(times[1:]))
"""


def measure(stage: Stage) -> list[Row]:
    world = stage.world("submit")
    spec = world.spec("held", "held")
    world.run("submit", spec)
    raw = raw_command(world)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}

    def ours() -> None:
        subprocess.run(world.command("submit", spec), env=world.environment, **quiet)

    def theirs() -> None:
        with open(raw[-1], "rb") as script:
            subprocess.run(raw[:-1], env=stage.slurm.environment, stdin=script, **quiet)

    actions = {"ours": ours, "sbatch": theirs, "true": lambda: subprocess.run(["/bin/true"], **quiet)}
    times = interleaved(stage.sizes.rounds, actions)
    medians = {name: median(values) for name, values in times.items()}
    rows = [ratio("`submit`, median", medians["ours"], medians["sbatch"], "sbatch", unit="ms", bar=2.0, aim=1.25)]
    for percent in (95, 99):
        values = [percentile(times[name], percent) for name in ("ours", "sbatch")]
        rows.append(ratio(f"`submit`, {percent}th percentile", *values, "sbatch", unit="ms"))
    rows.append(ratio("a process that does nothing", medians["true"], medians["sbatch"], "sbatch", unit="ms"))
    return rows + beside_submitit(stage, ours)


def raw_command(world: World) -> list[str]:
    """The sbatch that the daemon calls, with another name; the script, which it reads from standard input, comes last."""
    run_dir = world.json("show", "held")["run_dir"]
    return [
        str(world.slurm.bin / "sbatch"),
        "--parsable",
        "--job-name=raw",
        f"--output={run_dir}/logs/slurm-%j.out",
        "--open-mode=append",
        "--propagate=NONE",
        f"--chdir={run_dir}",
        f"{run_dir}/job.sh",
    ]


def beside_submitit(stage: Stage, ours: Callable[[], None]) -> list[Row]:
    try:
        python = environment_of_submitit()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return [Row(f"`submit` beside {SUBMITIT}", "not measured: " + str(said).strip().splitlines()[-1])]
    place = {"cwd": stage.directory, "env": stage.slurm.environment, "check": True, "capture_output": True, "text": True}

    def once() -> None:
        subprocess.run([python, "-c", ONCE], **place)

    rounds = max(2, stage.sizes.rounds // 5)
    times = interleaved(rounds, {"ours": ours, "submitit": once})
    # Its own process submits many: the interpreter and the imports are paid once.
    inside = json.loads(subprocess.run([python, "-c", MANY, str(rounds)], **place).stdout)
    name = SUBMITIT.replace("==", " ")
    mine = median(times["ours"])
    return [
        ratio(f"`submit` beside {name}, a process each", mine, median(times["submitit"]), name, unit="ms"),
        ratio(f"`submit`, a process each, beside {name} in one process for all", mine, median(inside), name, unit="ms"),
    ]


def environment_of_submitit() -> str:
    """A virtual environment in the cache, made when it is not there."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "/var/cache") / "trainyard-tests"
    home = cache / SUBMITIT.replace("==", "-")
    python = home / "bin/python"
    quiet = {"check": True, "capture_output": True, "text": True}
    there = python.exists() and subprocess.run([python, "-c", "import submitit"], capture_output=True).returncode == 0
    if not there:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], **quiet)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", SUBMITIT], **quiet)
    return str(python)
