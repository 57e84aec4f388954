"""The large world that several benchmarks share: built once, and only ever grown."""

import dataclasses
import pathlib
import shutil
import tempfile

from harness.copies import copy_ended, copy_live
from harness.figures import wait_until
from harness.slurm import Slurm
from harness.world import ROOT, World


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much of everything. `quick` shows that the benchmarks work, and no figure of it counts."""

    rounds: int = 200
    recorded: int = 100_000
    few_recorded: int = 1_000
    live: tuple[int, ...] = (1_000, 10_000)
    jobs: int = 100_000
    changed: int = 100
    minutes: float = 3.0
    trainings: int = 20
    captured_files: int = 2_000
    captures: int = 1_000
    large_files: int = 20_000
    first_captures: int = 15
    checkpoints: int = 100
    checkpoint_files: int = 10_000
    cold_looks: int = 5
    steady_seconds: float = 15
    points: int = 1_000

    @staticmethod
    def quick() -> "Sizes":
        return Sizes(20, 2_000, 200, (50, 200), 2_000, 20, 0.7, 4, 200, 30, 1_000, 3, 20, 200, 2, 5, 100)


class Stage:
    """Everything below one temporary directory, gone with it."""

    def __init__(self, program: pathlib.Path, sizes: Sizes):
        self.program, self.sizes = program, sizes
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="trainyard-bench-"))
        self.worlds: list[World] = []
        self._slurm: Slurm | None = None
        self._large: World | None = None
        self.live_jobs: list[int] = []

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        for world in self.worlds:
            world.stop()
        if self._slurm:
            self._slurm.__exit__()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def slurm(self) -> Slurm:
        if self._slurm is None:
            self._slurm = Slurm(self.directory / "slurm").__enter__()
        return self._slurm

    def world(self, name: str, **how: object) -> World:
        world = World(self.directory / name, self.program, self.slurm, **how)  # type: ignore[arg-type]
        self.worlds.append(world)
        return world

    def recorded(self, name: str, count: int, **how: object) -> World:
        """A world with so many runs that are over. Its daemon does not run."""
        world = self.world(name, **how)
        spec = str(ROOT / "examples/quickstart/run.toml")
        world.run("submit", spec, "--target", "local", "--set", "args.epochs=2", "--wait")
        world.stop()
        copy_ended(world.database, 1, count - 1)
        return world

    def large(self) -> World:
        """The world with the many recorded runs, which counts its calls of Slurm and polls as Trainyard does where the
        site says nothing. Its daemon does not run."""
        if self._large is None:
            self._large = self.recorded("large", self.sizes.recorded, watched=True)
        self._large.stop()
        return self._large

    def with_live(self, count: int) -> World:
        """The same with so many live runs, each of which has a held job. Its daemon does not run."""
        world = self.large()
        if not self.live_jobs and count:
            world.run("submit", world.spec("held", "held"))
            wait_until("the first live run was seen", lambda: "JobHeldUser" in world.run("show", "held"), every=0.5)
            world.stop()
            self.live_jobs = [world_job(world)]
        missing = count - len(self.live_jobs)
        if missing > 0:
            self.live_jobs += copy_live(world.database, self.sizes.recorded + 1, missing, self.slurm)
        return world


def world_job(world: World) -> int:
    """The job of the run `held`."""
    job = world.json("show", "held")["attempts"][0]["job_id"]
    world.stop()
    return int(job)
