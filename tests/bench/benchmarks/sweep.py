"""`submit` of a sweep beside a bare `sbatch --array` of the same script, and beside submitit's `map_array`.

Each call is timed as a whole process; afterwards its array is cancelled, which is not timed. All jobs are held, so that
nothing starts. The daemon is warm, and polls every second. What is timed calls Slurm's own commands, on both sides; the
stand-ins that count calls are a shell each, and are called in a world of their own.
"""

import pathlib
import subprocess
import time

from benchmarks.submit import SUBMITIT, environment_of_submitit
from harness.figures import Row, at_most, median, milliseconds, ratio, wait_until
from harness.stage import Stage
from harness.world import World

#: Seconds until a daemon that looks every second has seen that nothing is left, and is done with it.
SETTLED = 2.0

#: One array of as many tasks, from one process.
MAP = """
import sys, submitit
executor = submitit.SlurmExecutor(folder="submitit-log")
executor.update_parameters(time=10, job_name="submitit", array_parallelism=100000, additional_parameters={"hold": True})
print(executor.map_array(print, range(int(sys.argv[1])))[0].job_id)
"""


def measure(stage: Stage) -> list[Row]:
    points = stage.sizes.points
    world, spec = prepared(stage, "sweep", watched=False)
    first = submitted(world, spec)
    raw = raw_command(world, first, points)
    clear(stage, world)
    rounds = max(2, stage.sizes.rounds // 10)
    ours, theirs = [], []
    for index in range(rounds + 1):
        turns = [(ours, lambda: submitted(world, spec)), (theirs, lambda: bare(stage, raw))]
        for times, action in turns if index % 2 else reversed(turns):
            took = milliseconds(action)
            clear(stage, world)
            # The first round warms caches.
            if index:
                times.append(took)
    files = sum(1 for _ in pathlib.Path(first["sweep_dir"]).rglob("*"))
    name = f"a sweep of {points:,} points"
    rows = [
        ratio(f"`submit` of {name}, median", median(ours), median(theirs), "sbatch --array", unit="ms", bar=3.5),
        at_most("files that are made before a point starts", files, 20, "files"),
    ]
    # Its daemon would ask in between.
    world.stop()
    return rows + requests(stage, raw) + beside_submitit(stage, world, spec, points)


def prepared(stage: Stage, name: str, *, watched: bool) -> tuple[World, pathlib.Path]:
    """A world, and the spec of the sweep in it."""
    world = stage.world(name, watched=watched)
    site = world.home / "site.toml"
    # What was cancelled is to be known soon.
    site.write_text(site.read_text().replace("\nconf = ", '\npoll_interval = "1s"\nconf = ', 1))
    spec = pathlib.Path(world.spec("held", "held"))
    spec.write_text(spec.read_text() + f"[sweep.parameters]\n'args.n' = {{ range = [0, {stage.sizes.points}] }}\n")
    return world, spec


def requests(stage: Stage, raw: list[str]) -> list[Row]:
    """How often sbatch is called, and what slurmctld counts from the call to its end: the daemon's look at what it has
    submitted may fall into it."""
    world, spec = prepared(stage, "counted", watched=True)
    submitted(world, spec)
    clear(stage, world)
    calls = len(world.calls("sbatch"))
    rounds = 5
    ours, theirs, submissions = [], [], []
    for _ in range(rounds):
        stage.slurm.reset_counters()
        submitted(world, spec)
        ours.append(stage.slurm.requests())
        submissions.append(stage.slurm.requests("REQUEST_SUBMIT_BATCH_JOB"))
        clear(stage, world)
        stage.slurm.reset_counters()
        bare(stage, raw)
        theirs.append(stage.slurm.requests())
        clear(stage, world)
    made = world.calls("sbatch")[calls:]
    world.stop()
    return [
        at_most("calls of sbatch for each", len(made) / rounds, 1, "calls"),
        at_most("submissions that slurmctld counts for it (`sdiag`)", max(submissions), 1, "RPCs"),
        ratio("all requests to slurmctld until `submit` ends (`sdiag`)", median(ours), median(theirs), "sbatch --array", unit="RPCs"),
    ]


def submitted(world: World, spec: pathlib.Path) -> dict:
    return world.json("submit", str(spec))["sweep"]


def raw_command(world: World, sweep: dict, points: int) -> list[str]:
    """The sbatch that the daemon calls, with another name; the script, which it reads from standard input, comes last."""
    directory = sweep["sweep_dir"]
    return [
        str(world.slurm.bin / "sbatch"),
        "--parsable",
        "--job-name=raw",
        f"--array=0-{points - 1}",
        f"--output={directory}/logs/slurm-%A_%a.out",
        "--open-mode=append",
        "--propagate=NONE",
        f"--chdir={directory}",
        f"{directory}/job.sh",
    ]


def bare(stage: Stage, raw: list[str]) -> None:
    with open(raw[-1], "rb") as script:
        subprocess.run(raw[:-1], env=stage.slurm.environment, stdin=script, stdout=subprocess.DEVNULL, check=True)


def clear(stage: Stage, world: World) -> None:
    """Cancels all there is, and waits until the daemon knows: what it looks at is no part of what is timed."""
    for sweep in world.json("sweep", "list", "--limit", "3"):
        if sweep["state"] not in ("completed", "failed", "cancelled"):
            world.run("sweep", "cancel", str(sweep["id"]))
            number = str(sweep["id"])
            wait_until("the sweep is over", lambda: world.json("sweep", "show", number)["state"] == "cancelled")
    command = [str(world.slurm.bin / "scancel"), "--user=root"]
    subprocess.run(command, env=stage.slurm.environment, check=True)
    # Slurm takes a while over a thousand tasks, in which it answers nobody.
    wait_until("Slurm has cancelled all of them", lambda: not stage.slurm.ask("squeue", "-h", "-t", "PD,R,CG").strip())
    time.sleep(SETTLED)


def beside_submitit(stage: Stage, world: World, spec: pathlib.Path, points: int) -> list[Row]:
    what = f"`submit` of {points:,} points beside `map_array` of {SUBMITIT.replace('==', ' ')}"
    try:
        python = environment_of_submitit()
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", None) or str(error)
        return [Row(what, "not measured: " + str(said).strip().splitlines()[-1])]
    place = {"cwd": stage.directory, "env": stage.slurm.environment, "check": True, "capture_output": True}

    def theirs() -> None:
        subprocess.run([python, "-c", MAP, str(points)], **place)

    rounds = max(2, stage.sizes.rounds // 40)
    ours, others = [], []
    for index in range(rounds + 1):
        took = milliseconds(lambda: submitted(world, spec)), milliseconds(theirs)
        clear(stage, world)
        if index:
            ours.append(took[0])
            others.append(took[1])
    return [ratio(what, median(ours), median(others), SUBMITIT.replace("==", " "), unit="ms")]
