"""The benchmarks, in the order they run: those that want an empty Slurm come first."""

from benchmarks import capture, checkpoints, dump, live, recorded, restart, submit, sweep, visible

ALL = {
    "submit": submit,
    "sweep": sweep,
    "capture": capture,
    "visible": visible,
    "recorded": recorded,
    "live": live,
    "restart": restart,
    "dump": dump,
    "checkpoints": checkpoints,
}
