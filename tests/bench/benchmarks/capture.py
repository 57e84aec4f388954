"""What capturing the code adds to `submit`: a git work tree again and again, and a large one for the first time.

Each call is timed as a whole process, beside a submission whose code is one small file. All jobs are held. Reading a tree
once means git's list of its files and then each of them, opened, read and closed by one thread.
"""

import pathlib
import random
import shutil
import subprocess

from harness.figures import Row, at_most, interleaved, median, milliseconds, ratio
from harness.stage import Stage
from harness.world import World

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}


def measure(stage: Stage) -> list[Row]:
    world = stage.world("capture")
    small = world.spec("small", "held")
    tree = work_tree(world.home / "tree-code", stage.sizes.captured_files)
    again = world.spec("tree", "held")
    world.run("submit", small)
    world.run("submit", again)

    def submit(spec: str) -> None:
        subprocess.run(world.command("submit", spec), env=world.environment, **QUIET)

    actions = {
        "small": lambda: submit(small),
        "tree": lambda: submit(again),
        "git": lambda: subprocess.run(["git", "-C", tree, "status", "--porcelain"], **QUIET),
    }
    rounds = stage.sizes.rounds
    medians = {name: median(times) for name, times in interleaved(rounds, actions).items()}
    for _ in range(max(0, stage.sizes.captures - rounds - 2)):
        submit(again)
    submissions = max(stage.sizes.captures, rounds + 2)
    files = f"{stage.sizes.captured_files:,} files"
    rows = [
        at_most(f"what {files} add to each `submit` after the first", medians["tree"] - medians["small"], 25, "ms",
                against=f"git status: {medians['git']:.1f} ms"),
        at_most(f"archives of that tree after {submissions:,} submissions", archives(world) - 1, 1, "archives"),
    ]
    return rows + [first_time(stage, world)]


def archives(world: World) -> int:
    return len(list((world.home / "runs/.store/code").glob("*.tar")))


def first_time(stage: Stage, world: World) -> Row:
    """A store that has never seen the tree: its own is taken away before each round."""
    tree = work_tree(world.home / "large-code", stage.sizes.large_files)
    large, small = world.spec("large", "held"), str(world.home / "small.toml")
    store = world.home / "runs/.store/code"

    def submit(spec: str) -> None:
        subprocess.run(world.command("submit", spec), env=world.environment, **QUIET)

    ours, theirs, without = [], [], []
    for index in range(stage.sizes.first_captures + 1):
        shutil.rmtree(store, ignore_errors=True)
        submit(small)
        times = milliseconds(lambda: submit(large)), milliseconds(lambda: read_once(tree)), milliseconds(lambda: submit(small))
        # The first round warms caches.
        if index:
            for kept, time in zip((ours, theirs, without), times):
                kept.append(time)
    added = median(ours) - median(without)
    what = f"what {stage.sizes.large_files:,} files add to their first `submit`"
    return ratio(what, added, median(theirs), "git ls-files and reading once", unit="ms", bar=2.0)


def read_once(tree: pathlib.Path) -> None:
    names = subprocess.run(["git", "-C", tree, "ls-files", "-z"], capture_output=True, check=True).stdout
    root = bytes(tree) + b"/"
    for name in names.split(b"\0")[:-1]:
        with open(root + name, "rb", buffering=0) as file:
            file.read()


def work_tree(directory: pathlib.Path, files: int) -> pathlib.Path:
    """A repository of so many files as source trees have them, all committed."""
    draw = random.Random(files)
    for number in range(files):
        path = directory / f"package{number % 40}/part{number % 7}/module{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {number}\n" + "x = 1\n" * draw.randrange(50, 1200))
    # As the spec will have it: what git does not know costs more.
    (directory / "train.sh").write_text("true\n")
    git = ["git", "-C", directory, "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *words], **QUIET)
    return directory
