"""What a look at many large checkpoints costs, from a cold cache and call by call, and a live run between looks.

The files are made as torch's distributed checkpoints have them, of 64 bytes without a block on the disk, and the directories
are renamed into the other formats. What lies in the caches is dropped before each timed look. The calls are those that strace
sees of the daemon below the directory.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

from harness.figures import Row, at_most, median, milliseconds, wait_until
from harness.stage import Stage
from harness.world import World

STATS = {"stat", "lstat", "fstat", "newfstatat", "statx", "access", "faccessat", "faccessat2", "readlink", "readlinkat"}
#: What others call it once it lies there: `step_` is torch's own.
PREFIXES = {"dcp": "step_", "megatron": "iter_", "lightning": "step=", "nemo": "model--step=", "deepspeed": "global_step"}


def measure(stage: Stage) -> list[Row]:
    world = stage.world("checkpoints")
    world.run("submit", world.spec("trains", "cpu", "echo begun\nsleep 3600\n"))
    run_directory = pathlib.Path(world.json("show", "trains")["run_dir"])
    wait_until("it trains", lambda: world.json("show", "trains")["state"] == "running", every=0.5)
    directory = run_directory / "checkpoints"
    count, files = stage.sizes.checkpoints, stage.sizes.checkpoint_files
    write(directory, count, files)
    what = f"{count} × {files:,} files"
    looks, finds = [], []
    for _ in range(stage.sizes.cold_looks):
        looks.append(cold(world, lambda: world.run("checkpoints", "trains", "--json")))
        # The names alone.
        finds.append(cold(world, lambda: subprocess.run(["find", directory], stdout=subprocess.DEVNULL, check=True)))
    rows = [
        at_most(f"{what} on {file_system(directory)}: a cold look, the median of {len(looks)}", median(looks), 1000, "ms",
                against=f"find, cold too: {median(finds):,.0f} ms"),
        at_most("the longest of those", max(looks), 1000, "ms"),
    ]
    shape = "dcp"
    for shape in PREFIXES:
        rename(directory, shape, files)
        rows.append(calls_of_look(world, directory, shape, count))
    rows.append(steady(world, run_directory, stage.sizes.steady_seconds))
    world.run("cancel", "trains")
    shutil.rmtree(directory)
    return rows


def write(directory: pathlib.Path, count: int, files: int) -> None:
    for step in range(1, count + 1):
        place = directory / f"step_{step}"
        place.mkdir(parents=True)
        names = [f"__{rank}_0.distcp".encode() for rank in range(files)]
        for name in names:
            descriptor = os.open(bytes(place) + b"/" + name, os.O_WRONLY | os.O_CREAT, 0o644)
            os.ftruncate(descriptor, 64)
            os.close(descriptor)
        # A pickle that names them, as far as a reader looks who loads none.
        texts = b"".join(b"\x8c" + bytes([len(name)]) + name + b"\x94" for name in names)
        (place / ".metadata").write_bytes(b"\x80\x04" + texts + b".")
    os.sync()


def rename(directory: pathlib.Path, shape: str, files: int) -> None:
    """Makes the checkpoints of the last shape into those of this one."""
    for place in list(directory.iterdir()):
        if not place.is_dir():
            place.unlink()
            continue
        step = int(re.findall(r"\d+", place.name)[0])
        number = f"{step:07}" if shape == "megatron" else f"{step}"
        target = directory / (PREFIXES[shape] + number + (".ckpt" if shape == "lightning" else ""))
        if (place / "weights").is_dir():
            (place / "weights").rename(directory / f".{step}")
            shutil.rmtree(place)
            (directory / f".{step}").rename(target)
        else:
            place.rename(target)
        if shape == "megatron":
            leave(target / "metadata.json", b'{"sharded_backend": "torch_dist"}')
        elif shape == "lightning":
            (target / "metadata.json").unlink()
            leave(target / "meta.pt", b"meta")
        elif shape == "nemo":
            (target / "meta.pt").unlink()
            target.rename(directory / f".{step}")
            (target / "context").mkdir(parents=True)
            (directory / f".{step}").rename(target / "weights")
        elif shape == "deepspeed":
            (target / ".metadata").unlink()
            for rank in range(files):
                os.rename(target / f"__{rank}_0.distcp", target / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    last = max(int(re.findall(r"\d+", place.name)[0]) for place in directory.iterdir())
    if shape == "megatron":
        (directory / "latest_checkpointed_iteration.txt").write_text(str(last))
    elif shape == "deepspeed":
        (directory / "latest").write_text(f"global_step{last}")


def leave(path: pathlib.Path, content: bytes) -> None:
    """What was written a moment ago may change again, and is not called complete yet."""
    path.write_bytes(content)
    minute_ago = time.time() - 60
    os.utime(path, (minute_ago, minute_ago))


def cold(world: World, action: Callable[[], object]) -> float:
    os.sync()
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("3")
    # The program itself is warm; what it looks at is not.
    world.run("daemon", "status")
    return milliseconds(action)


def calls_of_look(world: World, directory: pathlib.Path, shape: str, count: int) -> Row:
    # What was written a moment ago is not called complete yet.
    wait_until("all are complete", lambda: world.json("checkpoints", "trains")["complete"] == count, every=0.5)
    with Traced(world, directory) as traced:
        catalogue = world.json("checkpoints", "trains")
    found = {one["format"] for one in catalogue["checkpoints"]}
    if (catalogue["complete"], found) != (count, {shape}):
        raise RuntimeError(f"{shape}: {catalogue['complete']} of {count} are complete, formats {found}: {catalogue['cut']}")
    beside = f"{traced.opened()} files opened, {traced.listed()} directories read"
    return at_most(f"{shape}: stats of a look", traced.stats(), 400, "calls", against=beside)


def steady(world: World, run_directory: pathlib.Path, seconds: float) -> Row:
    """Nobody asks."""
    with Traced(world, run_directory.parent) as traced:
        time.sleep(seconds)
    calls = traced.stats() + traced.opened() + traced.listed()
    what = f"metadata calls below the run root in {seconds:.0f} s with this run alive"
    return at_most(what, calls / seconds, 20, "calls a second")


class Traced:
    """The daemon's calls that are about what lies below a directory."""

    def __init__(self, world: World, directory: pathlib.Path):
        self.directory, self.pid = directory, world.pid()
        self.output = world.home / "strace"
        self.calls: list[tuple[str, bool]] = []

    def __enter__(self) -> "Traced":
        words = ["strace", "-f", "-y", "-s", "4096", "-e", "trace=%file,%desc", "-o", self.output, "-p", str(self.pid)]
        self.strace = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        assert self.strace.stderr is not None
        told = self.strace.stderr.readline()
        if "attached" not in told:
            raise RuntimeError(f"strace: {told.strip()}")
        return self

    def __exit__(self, *_: object) -> None:
        self.strace.send_signal(signal.SIGINT)
        try:
            self.strace.wait(timeout=5)
        except subprocess.TimeoutExpired:
            # It waits for a process that the daemon has just begun; the kernel lets go of all of them.
            self.strace.kill()
            self.strace.wait()
        for line in self.output.read_text(errors="replace").splitlines():
            call = re.match(r"\d+ +(\w+)\(", line)
            if call and str(self.directory) in line:
                self.calls.append((call.group(1), "O_DIRECTORY" in line))

    def count(self, names: set[str], *, directories: bool) -> int:
        return sum(name in names and is_directory == directories for name, is_directory in self.calls)

    def stats(self) -> int:
        return self.count(STATS, directories=False)

    def opened(self) -> int:
        return self.count({"open", "openat", "openat2"}, directories=False)

    def listed(self) -> int:
        return self.count({"open", "openat", "openat2"}, directories=True)


def file_system(directory: pathlib.Path) -> str:
    words = ["stat", "--file-system", "--format=%T", directory]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip().replace("ext2/ext3", "ext4")
