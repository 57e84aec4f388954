"""A run root vanishes, cannot be read, or hangs: its runs wait as they are, and all others go on."""

import contextlib
import subprocess
import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates
from lib.slurm import ROOT

# How long `list` and `show` may take meanwhile, and a run of another root until it is over.
QUICK_SECONDS = 2
OTHERS_SECONDS = 60

MOODS = ("vanished", "EACCES", "ESTALE", "hang")


def quick(world, problems, *words):
    said = world.run(*words, timeout=30)
    if said.code != 0 or said.seconds > QUICK_SECONDS:
        problems.append(f"`{' '.join(map(str, words))}` took {said.seconds:.1f} s and ended with {said.code}: {said.stderr}")
    return said.seconds


class Moody:
    """A run root on a file system that mirrors a directory, until it is told otherwise."""

    def __init__(self, context):
        program, source = context.tmp / "moody", ROOT / "tests/faults/lib/moody.c"
        words = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=False)
        if words.returncode != 0:
            raise RuntimeError("there is no FUSE to build with: apt-get install fuse3 libfuse3-dev pkg-config")
        subprocess.run(["cc", "-O1", "-o", program, source, *words.stdout.split()], check=True)
        self.mirrored, self.at, self.control = (context.tmp / name for name in ("mirrored", "mounted", "mood"))
        self.mirrored.mkdir()
        self.at.mkdir()
        self.root = self.at / "runs"
        self.process = subprocess.Popen(
            [program, self.mirrored, self.control, self.at, "-f", "-o", "allow_other"], start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_until("it is mounted", lambda: self.at.is_mount())

    def show_to(self, slurm):
        """Nodes see the mounts that were there when they started."""
        for number in range(1, 5):
            slurm.daemon("stop", f"n{number}")
        slurm.up()

    def become(self, mood):
        if mood == "vanished":
            (self.mirrored / "runs").rename(self.mirrored / "elsewhere")
        else:
            self.control.write_text(mood)

    def mend(self):
        self.control.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (self.mirrored / "elsewhere").rename(self.mirrored / "runs")

    def close(self):
        self.mend()
        subprocess.run(["umount", "--lazy", self.at], check=False)
        self.process.kill()
        self.process.wait()


def play(context, world, moody, mood, problems):
    """The root is in that mood for some seconds; gives the figures."""
    slurm, go = world.cluster, world.home / "go"
    there = ("--project", "apart")
    waits = world.submit(world.spec("waits", ":", "[compute]\nclass = 'held'"), *there).number
    works = world.submit(world.spec("works", f"until [[ -e {go} ]]; do sleep 0.2; done"), *there).number
    wait_until("it works", lambda: world.show(works)["state"] == "running")
    wait_until("slurmctld has shown both", lambda: all(world.show(run)["attempts"][0]["slurm_state"] for run in (waits, works)))
    moody.become(mood)
    began, slowest = time.monotonic(), 0.0
    other = world.submit(world.spec("other", "sleep 0.5")).number
    if other is None:
        raise Broken(f"{mood}: nothing can be submitted to another root")
    others = None
    while time.monotonic() - began < context.size(12, 60) or others is None:
        slowest = max(slowest, quick(world, problems, "list"), quick(world, problems, "show", works))
        states = [world.show(run)["state"] for run in (waits, works)]
        if states != ["queued", "running"]:
            problems.append(f"{mood}: those that wait and work are {states}")
        if others is None and world.show(other)["state"] == "completed":
            others = time.monotonic() - began
        if problems or time.monotonic() - began > OTHERS_SECONDS:
            break
        time.sleep(0.5)
    if others is None:
        problems.append(f"{mood}: a run of another root was not over within {OTHERS_SECONDS} s: {world.show(other)['state']}")
    # One that is meant for it is refused in a time that a person bears. A root that is not there is made: it may be the first
    # run of all.
    if mood != "vanished":
        said = world.run("submit", world.spec("late"), *there, "--ack-timeout", "1s", timeout=60)
        if said.code in (-9, 0):
            problems.append(f"{mood}: submit to that root said {said}")
    moody.mend()
    go.touch()
    slurm.ask("scontrol", "release", str(world.show(waits)["attempts"][-1]["job_id"]))
    return {"others_s": others or 0.0, "slowest_s": slowest}


@case("root", rounds=4, campaign=16)
def root(context):
    """A run root vanishes, cannot be read, is stale, or hangs."""
    slurm, problems = context.slurm(), []
    mood = MOODS[context.round % len(MOODS)]
    moody = Moody(context)
    try:
        moody.show_to(slurm)
        world = context.world(slurm)
        world.write_site(site="", keys=f"[project.apart]\nrun_root = '{moody.root}'")
        figures = play(context, world, moody, mood, problems)
        settled = world.settle(120)
        problems += check(world)
        ended = fates(world)
        if settled is None or set(ended) & {"failed", "cancelled"}:
            problems.append(f"not all completed after it was mended: {ended}")
    finally:
        moody.close()
    if problems:
        raise Broken([mood, *problems])
    return {mood: 1, **figures, **ended, "settled_s": settled}
