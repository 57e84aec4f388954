"""Slurm's commands behind a count: who was called, when, and how it ended."""

import os
import time

NAMES = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo", "sacctmgr", "srun")

SHIM = """#!/bin/bash
{real} "$@"
code=$?
echo "{name} $code $EPOCHREALTIME" >>{log}
exit $code
"""


class Counted:
    """A cluster whose commands are counted; everything else of it is the cluster's own."""

    def __init__(self, slurm, directory):
        self.slurm = slurm
        self.commands = directory / "counted"
        self.log = directory / "calls"
        self.commands.mkdir()
        for name in NAMES:
            path = self.commands / name
            path.write_text(SHIM.format(real=slurm.commands / name, name=name, log=self.log))
            os.chmod(path, 0o755)

    def __getattr__(self, name):
        return getattr(self.slurm, name)

    def calls(self, since=0.0, name=None, only_good=False):
        """The calls that ended since a moment."""
        if not self.log.exists():
            return []
        found = []
        for line in self.log.read_text().splitlines():
            called, code, at = line.split(" ")
            if float(at) >= since and name in (None, called) and not (only_good and code != "0"):
                found.append((called, int(code), float(at)))
        return found

    @staticmethod
    def now():
        return time.time()
