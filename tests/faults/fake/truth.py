"""Whether what the daemon has recorded is true, looked at from outside at any moment.

The truth is read after the record: what it says then that cannot have been otherwise a moment before is a lie for sure.
"""

import json
import os
import pathlib

from lib.world import FINAL

# Ends that come from outside, and do not count where the training had ended before.
FROM_OUTSIDE = ("NODE_FAIL", "TIMEOUT", "PREEMPTED")

# Why a run may have failed although none of its jobs did: it never had one, or the fake refused it.
NO_JOB = ("rejected",)


def records(world):
    """Every run as it is recorded, without those of this machine: the fake knows nothing of them."""
    rows = world.rows("SELECT id, state, reason, message, run_dir, machine FROM run ORDER BY id")
    rows = [{**dict(row), "machine": json.loads(row["machine"])} for row in rows]
    return [row for row in rows if (row["machine"]["submission"] or {}).get("cluster") != "local"]


def claim(row, job):
    """Who may train for a job's submission: a job key, `revoked`, or None as long as nobody has asked."""
    try:
        return os.readlink(pathlib.Path(row["run_dir"]) / "claims" / job.token)
    except OSError:
        return None


def may_train(row, job):
    return job.is_live and claim(row, job) in (None, f"test:{job.id}")


def is_done(row, job):
    """Whether a job was ended from outside after its training had ended well, as its script told."""
    return job.state in FROM_OUTSIDE and any(
        told["token"] == job.token and told["exit_code"] == 0 and not told["reason"]
        for told in map(json.loads, map(pathlib.Path.read_text, pathlib.Path(row["run_dir"], "exits").glob("*.json")))
    )


def lies(world, slurm):
    """What is recorded and not true, as sentences."""
    rows = records(world)
    problems = []
    with slurm.lock:
        for row in rows:
            jobs = slurm.of_run(row["id"])
            state, words = row["state"], [(job.id, job.now.state) for job in jobs]
            shown = f"run {row['id']} is shown as {state} ({row['reason']}, {row['message']})"
            ended = [job.now for job in jobs if not job.is_live]
            if state in FINAL and any(may_train(row, job) for job in jobs):
                problems.append(f"{shown}, and a job of it lives: {words}")
            if state in ("running", "finishing") and not any(job.has_started for job in jobs):
                problems.append(f"{shown}, and none of its jobs has started: {words}")
            completed = any(start.state == "COMPLETED" for start in ended) or any(is_done(row, job) for job in jobs)
            if state == "completed" and not completed:
                problems.append(f"{shown}, and none of its jobs completed: {words}")
            if state == "failed" and row["reason"] not in NO_JOB and not (ended and failed(jobs)):
                problems.append(f"{shown}, and none of its jobs failed: {words}")
    return problems


def failed(jobs):
    """Whether a job ended in another way than well, or a start of one did."""
    return any(start.end and start.state not in ("COMPLETED", "PENDING", "RUNNING") for job in jobs for start in job.starts)


def doubled(world, slurm):
    """Runs that trained more often than the cluster's own doings explain, or by several jobs of one submission."""
    starts, problems = {}, []
    for trace in world.traces():
        if trace.word == "start":
            starts.setdefault(trace.run, []).append(trace)
    for run, traces in starts.items():
        jobs_of_token = {}
        for trace in traces:
            jobs_of_token.setdefault(trace.token, set()).add(trace.job)
        for token, jobs in jobs_of_token.items():
            if len(jobs) > 1:
                problems.append(f"run {run}: several jobs of the submission {token} trained: {sorted(jobs)}")
        by_cluster = sum(start.by_cluster for job in slurm.of_run(run) for start in job.starts)
        if len(traces) > 1 + by_cluster:
            problems.append(f"run {run} trained {len(traces)} times, of which the cluster ended {by_cluster}: {traces}")
    return problems


def stale(row):
    return row["machine"]["stale"]


def peak_kib(pid):
    """The most memory that a process ever had."""
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def forget_peak(pid):
    """From here on the peak counts anew."""
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
