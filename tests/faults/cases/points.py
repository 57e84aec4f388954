"""The daemon ends at every named place between an intent and its acknowledgement.

The places are the calls of `crate::fault::point` in src; a program built with the feature `faults` ends itself by SIGKILL at
the one that TRAINYARD_FAULT names, when it first comes there.
"""

import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates
from lib.shims import NAMES
from lib.slurm import ROOT

MOMENTS = ("first", "several")
AT_A_TIME = 4

# Ends without a word and without having submitted, once for each file `lose`: the answer is lost, and there is no job.
SBATCH = """#!/bin/bash
if rm {home}/lose 2>/dev/null; then kill -KILL $$; fi
exec {real} "$@"
"""

# Leaves more checkpoints than it wants to keep.
SAVES = "for step in 1 2 3; do echo '{}' >$TRAINYARD_CHECKPOINT_DIR/step-$step.json; done"
# Submits by itself on no day of this year: its runs are asked for.
RARELY = "[schedule]\ncron = '0 0 29 2 *'\nif_active = 'submit'"
# Four points, two at a time, which report what they are compared by. They are two arrays: one is submitted as the sweep is
# accepted, the other by a pass.
SWEEP = """[sweep]
max_parallel = 2
objective = { metric = "loss", goal = "minimize" }
early_stopping = { method = "asha", min_steps = 1, max_steps = 2, reduction_factor = 2 }
[sweep.parameters]
"compute.time_limit" = ["10m", "11m"]
"args.n" = [1, 2]
"""
# Has its points from whoever drives it.
OPEN = """[sweep]
method = "open"
max_points = 2
[sweep.parameters]
"args.n" = { integer = [1, 9] }
"""
REPORTS = "echo '{\"step\": 1, \"loss\": 1}' >>$TRAINYARD_METRICS_PATH; live 3"
KEEPS_ONE = "[checkpoint]\nkeep_last = 1\n[failure]\nmax_restarts = 0"


def names():
    """The places, as the source has them."""
    found = set()
    for path in (ROOT / "src").rglob("*.rs"):
        found |= set(re.findall(r'\bpoint\("([a-z_]+)"\)', path.read_text()))
    return sorted(found)


def build():
    """The program with the feature; $CARGO is another cargo."""
    command = [os.environ.get("CARGO", "cargo"), "build", "--locked", "--features", "faults", "--target-dir", "target/faults"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return str(ROOT / "target/faults/debug/trainyard")


class Stage:
    """One place at one moment, in a world of its own."""

    def __init__(self, context, slurm, program, point, moment):
        self.point, self.moment = point, moment
        self.world = context.world(slurm, name=f"{point}-{moment}")
        self.world.program = program
        # Not a program that the site names as its sbatch: that would not be started before its script is due.
        commands = self.world.home / "commands"
        commands.mkdir()
        for command in slurm.commands.iterdir():
            if command.name in NAMES and command.name != "sbatch":
                (commands / command.name).symlink_to(command)
        sbatch = commands / "sbatch"
        sbatch.write_text(SBATCH.format(home=self.world.home, real=slurm.commands / "sbatch"))
        sbatch.chmod(0o755)
        self.world.write_site(f"commands = '{commands}'")

    def submit(self, name, script=":", more=""):
        """Until it is told a number, as a person would."""
        spec = self.world.spec(name, script, more)
        return wait_until(f"{name} is accepted", lambda: self.world.submit(spec, key=name).number)

    def cancel(self, run):
        wait_until(f"run {run} is cancelled", lambda: self.world.run("cancel", run).code in (0, 11))

    def saved(self, run):
        return sorted(os.listdir(pathlib.Path(self.world.show(run)["run_dir"]) / "checkpoints"))

    def firing(self):
        """What became of the last planned time; None where there is none."""
        said = self.world.run("schedule", "list", "scheduled", "--json")
        firings = said.json()["firings"] if said.code == 0 else []
        return firings[0] if firings else None

    def schedule(self):
        """One run of a schedule, whose daemon may end in the middle: the next one sees it through."""
        spec = self.world.spec("scheduled", more=RARELY)
        wait_until("the schedule is taken on", lambda: self.world.run("schedule", "add", spec).code == 0)
        # Asked for again only where nobody has heard of it.
        wait_until("a run is asked for", lambda: self.firing() or self.world.run("schedule", "run-now", "scheduled").code == 0)
        wait_until("it has its run", lambda: (self.firing() or {}).get("outcome") == "submitted")

    def drive(self):
        """An open sweep of two points, each told until somebody has heard of it."""
        sweep = self.submit("told", more=OPEN)
        said = lambda *words: self.world.run("sweep", "tell", str(sweep), *words).code == 0
        for n in (1, 2):
            wait_until(f"point {n} is told", lambda: said(f'{{"args.n": {n}}}', "--key", str(n)))
        wait_until("it is closed", lambda: said("--close"))

    def armed(self):
        """A daemon that will end at the place, and nobody else does."""
        child = self.world.serve(TRAINYARD_FAULT=self.point)
        wait_until("it serves or is gone", lambda: child.poll() is not None or self.world.run(
            "daemon", "status").code == 0)
        return child

    def play(self):
        """Gives whether the place was reached, and what is broken."""
        world, cancelled, keeps = self.world, [], None
        if self.moment == "several":
            cancelled = [self.submit("stopped", "live 60")]
            self.submit("earlier", "live 2")
            wait_until("it runs", lambda: world.show(cancelled[0])["state"] == "running")
            world.kill_daemon()
        child = self.armed()
        if self.moment == "several":
            (world.home / "lose").touch()
            for run in cancelled:
                self.cancel(run)
            for name in ("lost", "next"):
                self.submit(name)
            keeps = self.submit("keeps", SAVES, KEEPS_ONE)
        self.submit("plain")
        self.submit("swept", REPORTS, SWEEP)
        self.drive()
        self.schedule()
        settled = world.settle(120)
        if keeps:
            wait_until("old checkpoints are gone, and nothing is left of them", lambda: self.saved(keeps) == ["step-3.json"])
        # Gone by its own hand, or there until it is told to go.
        reached = child.poll() == -signal.SIGKILL
        problems = check(world, once=True)
        if settled is None:
            problems.append("not all runs were over in time")
        scheduled = [run["id"] for run in world.list("--name", "scheduled")]
        if len(scheduled) != 1 or self.firing()["run"] != scheduled[0]:
            problems.append(f"a planned time has the runs {scheduled}: {self.firing()}")
        told = [run["point"] for run in world.list("--name", "told")]
        if sorted(told) != [0, 1]:
            problems.append(f"an open sweep that was told two points has {told}")
        wrong = {run["id"]: run["state"] for run in world.list() if run["state"] != "completed" and run["id"] not in cancelled}
        if wrong:
            problems.append(f"runs that did not complete: {wrong}; {fates(world)}")
        world.close()
        return reached, [f"{self.point}, {self.moment}: {problem}" for problem in problems]


@case("points", rounds=1, campaign=5)
def points(context):
    """The daemon ends at every named place between intent and acknowledgement."""
    slurm, program, known = context.slurm(), build(), names()
    if not known:
        raise Broken("src names no places")
    stages = [Stage(context, slurm, program, point, moment) for point in known for moment in MOMENTS]
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        results = list(pool.map(Stage.play, stages))
    problems = [problem for _, more in results for problem in more]
    reached = {moment: {s.point for s, (was, _) in zip(stages, results) if was and s.moment == moment} for moment in MOMENTS}
    problems += [f"nobody came to {name}" for name in known if not any(name in seen for seen in reached.values())]
    if problems:
        raise Broken(problems)
    return {"places": len(known), **{f"reached_{moment}": len(seen) for moment, seen in reached.items()},
            "played_s": time.monotonic() - began}
