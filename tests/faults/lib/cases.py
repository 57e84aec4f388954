"""How cases are registered, what each is given, and how one says that a promise was broken.

A case is a function of a Context that plays one round and returns its figures, a dict of numbers. It raises Broken when an
invariant does not hold. The seed, the case and the round's number decide everything that a round draws.
"""

import dataclasses
import pathlib
import random
import shutil
import tempfile
import threading
import time

from lib.slurm import Slurm
from lib.world import World

CASES = {}

# How long any one condition may take to come true, in seconds; a round that gets there has failed.
PATIENCE = 120


class Broken(Exception):
    """A promise that does not hold, or several."""

    def __init__(self, problems):
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    rounds: int
    campaign: int
    function: object
    about: str


def case(name, rounds=1, campaign=1):
    """Registers a case: how many rounds it plays for CI, and how many in a campaign."""

    def register(function):
        CASES[name] = Case(name, rounds, campaign, function, (function.__doc__ or "").strip().splitlines()[0])
        return function

    return register


class Shared:
    """What the rounds of one call of `run` share: Slurms, which take long to start."""

    def __init__(self):
        self.slurms = {}
        self.worlds = []
        self.lock = threading.Lock()

    def slurm(self, options, lane):
        with self.lock:
            key = (options, lane)
            if key not in self.slurms:
                self.slurms[key] = Slurm(options)
            return self.slurms[key]

    def close(self):
        # Those of rounds that were cut off are still there.
        for world in self.worlds:
            world.close()
        for slurm in self.slurms.values():
            slurm.down()


@dataclasses.dataclass
class Context:
    """One round of one case."""

    program: str
    seed: str
    round: int
    rounds: int
    campaign: bool
    random: random.Random
    tmp: pathlib.Path
    shared: Shared
    worlds: list
    # Which of several rounds at a time this is: each lane has Slurms of its own.
    lane: int

    @staticmethod
    def of(name, round_number, rounds, arguments, shared, lane):
        seed = f"{arguments.seed}/{name}/{round_number}"
        tmp = pathlib.Path(tempfile.mkdtemp(prefix=f"faults-{name}-"))
        return Context(
            program=arguments.program, seed=seed, round=round_number, rounds=rounds, campaign=arguments.campaign,
            random=random.Random(seed), tmp=tmp, shared=shared, worlds=[], lane=lane,
        )

    def size(self, short, campaign):
        """How much of something this round plays."""
        return campaign if self.campaign else short

    def slurm(self, *options):
        """A real Slurm made with these options of tests/cluster/up, whole and running, that one round at a time has."""
        slurm = self.shared.slurm(options, self.lane)
        slurm.up()
        return slurm

    def world(self, cluster, keys="", name="world", **more):
        """A world whose site is that cluster: a home, a state directory, a run root. See lib.world.World."""
        directory = self.tmp / name
        directory.mkdir()
        world = World(self.program, directory, cluster, keys, **more)
        self.worlds.append(world)
        self.shared.worlds.append(world)
        return world

    def close(self, keep):
        for world in self.worlds:
            world.close()
        if not keep:
            shutil.rmtree(self.tmp, ignore_errors=True)


def wait_until(what, condition, patience=PATIENCE, pause=0.05):
    """Waits for a condition and gives what it returned; raises Broken when it does not come true in time."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Broken(f"not within {patience} s: {what}")
        time.sleep(pause)
