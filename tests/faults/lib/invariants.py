"""What must hold whatever happened, checked from outside.

I1  every accepted run has exactly one of: refused, one live job, one ended job (of its newest submission)
I2  no submission has two jobs that trained, no run trained twice at a time, no start again after its end; exactly once
    where no job was lost
I4  no state leaves a final one, except by a recorded `reopened`
I5  the database is whole
I6  a number that was printed is known for ever, and each key has one run
"""

import collections
import dataclasses
import json

from lib.world import FINAL


def check(world, once=True, live_allowed=False, trained=True, remembers=True):
    """All invariants; gives what is broken, as sentences.

    once: no job was lost, so every run trained exactly once (else: at most one at a time).
    remembers: the scheduler has forgotten nothing, so its last word of a job is the one that was recorded.
    live_allowed: runs may still be under way.
    trained: every completed run has trained under the eyes of the trace.
    """
    problems = whole(world)
    if problems:
        return problems
    jobs = world.cluster.jobs() if hasattr(world.cluster, "jobs") else None
    return [
        *one_fate(world, jobs, live_allowed, remembers),
        *trained_once(world, once, trained),
        *final_stays_final(world),
        *numbers_are_known(world),
    ]


def runs_of(world):
    return {row["id"]: row for row in world.rows("SELECT id, state, reason, message, key, run_dir, machine FROM run")}


def submissions_of(world):
    """The submissions of each run, oldest first."""
    found = collections.defaultdict(list)
    query = "SELECT e.run, s.token || iif(s.kind = 'array', '_' || e.idx, '') AS token, s.job_id, s.outcome, s.job_name FROM submission s JOIN element e ON e.submission = s.id ORDER BY s.id"
    for row in world.rows(query):
        found[row["run"]].append(row)
    return found


def attempts_of(world):
    found = collections.defaultdict(list)
    for row in world.rows("SELECT run, n, record FROM attempt ORDER BY run, n"):
        found[row["run"]].append(json.loads(row["record"]))
    return found


def one_fate(world, jobs, live_allowed, remembers):
    """I1. `jobs` is what the scheduler says, None where there is nobody to ask."""
    problems, submissions, attempts = [], submissions_of(world), attempts_of(world)
    by_token = collections.defaultdict(list)
    for job in jobs or []:
        by_token[job.name.rsplit(".", 1)[-1]].append(job)
    for run, row in runs_of(world).items():
        tokens = [submission["token"] for submission in submissions[run]]
        known = [job for token in tokens for job in by_token[token]]
        live = [job for job in known if job.is_live]
        state, kept = row["state"], attempts[run]
        if len(live) > 1:
            problems.append(f"I1: run {run} ({state}) has {len(live)} live jobs: {live}")
        if state in FINAL and live:
            problems.append(f"I1: run {run} is {state} and has a live job: {live}")
        if state not in FINAL and not live_allowed:
            problems.append(f"I1: run {run} is still {state}: {row['message']}")
        if state == "failed" and row["reason"] == "rejected" and kept:
            problems.append(f"I1: run {run} was refused and has attempts: {kept}")
        for attempt in kept[:-1]:
            if attempt["state"] not in ("requeued", "failed", "completed", "cancelled"):
                problems.append(f"I1: an earlier attempt of run {run} is left open: {attempt}")
        if state == "completed":
            problems.extend(completed_by_its_job(run, submissions[run], kept, known, jobs is not None and remembers))
    return problems


def completed_by_its_job(run, submissions, attempts, known, is_told):
    if not submissions or not attempts:
        return [f"I1: run {run} completed without a submission or an attempt"]
    last, newest = attempts[-1], submissions[-1]
    if last["state"] != "completed":
        return [f"I1: run {run} completed, and its last attempt is {last['state']}"]
    # A job key is cluster:job or cluster:job_task, and what is recorded of a submission is the job's, or the array's.
    job = int(last["job"].rsplit(":", 1)[1].split("_")[0])
    if newest["job_id"] is not None and newest["job_id"] != job:
        return [f"I1: run {run} completed by job {job}, and its newest submission is job {newest['job_id']}"]
    # A task has a number of its own.
    words = [one.state for one in known if one.id == job or "_" in last["job"].rsplit(":", 1)[1]]
    if is_told and words and words[0] not in ("COMPLETED", "RUNNING", "COMPLETING", "PENDING") and not last["self_reported"]:
        return [f"I1: run {run} completed by job {job}, of which the scheduler says {words}"]
    return []


@dataclasses.dataclass
class Start:
    """What one start of a training left: its first line, its last one, and whether that was its end."""

    job: int
    restart: int
    first: float
    last: float
    has_ended: bool


def starts_of(world):
    """The starts of each run, oldest first, and the tokens that each job trained under."""
    starts, problems = collections.defaultdict(dict), []
    for line in world.traces():
        # A job that was forgotten may be followed by one that is given its id. One whose start was forgotten may be killed
        # and started again under the same restart count; what has ended never starts again.
        same = (line.token, line.job, line.restart)
        key = (*same, line.process)
        own = starts[line.run]
        if line.word == "start" and (key in own or any(start.has_ended for at, start in own.items() if at[:3] == same)):
            problems.append(f"I2: job {line.job} of run {line.run} trained twice")
        start = own.setdefault(key, Start(line.job, line.restart, line.at, line.at, False))
        start.last, start.has_ended = line.at, line.word == "end"
    return {run: sorted(own.values(), key=lambda start: start.first) for run, own in starts.items()}, problems


def trained_once(world, once, trained):
    """I2, from the trace alone."""
    starts, problems = starts_of(world)
    jobs_of_token = collections.defaultdict(set)
    for line in world.traces():
        jobs_of_token[line.token].add(line.job)
    problems += [
        f"I2: jobs {sorted(jobs)} of one submission ({token}) trained" for token, jobs in jobs_of_token.items() if len(jobs) > 1
    ]
    runs = runs_of(world)
    for run, row in runs.items():
        own = starts.get(run, [])
        # Of one that was killed the end is not known: its last sign of life is.
        problems += [
            f"I2: run {run} trained twice at a time: {own}"
            for earlier, later in zip(own, own[1:])
            if earlier.last > later.first
        ]
        if once and len(own) > 1:
            problems.append(f"I2: run {run} trained {len(own)} times: {own}")
        ends = sum(start.has_ended for start in own)
        if trained and row["state"] == "completed" and ends != 1:
            problems.append(f"I2: run {run} completed and trained to its end {ends} times")
    problems += [f"I2: run {run} trained and is not known" for run in starts.keys() - runs.keys()]
    return problems


def final_stays_final(world):
    """I4, from the recorded history."""
    problems, ended = [], {}
    for row in world.rows("SELECT run, kind, message FROM event ORDER BY id"):
        run = row["run"]
        if row["kind"] == "reopened":
            ended.pop(run, None)
        elif row["kind"] == "state":
            if run in ended:
                problems.append(f"I4: run {run} left its end `{ended[run]}`: {row['message']}")
            _, after = row["message"].split(" → ", 1)
            if after.split(":")[0].split(" ")[0] in FINAL:
                ended[run] = row["message"]
    return problems


def whole(world):
    """I5."""
    words = [row[0] for row in world.rows("PRAGMA integrity_check")]
    return [] if words == ["ok"] else [f"I5: integrity_check: {words}"]


def numbers_are_known(world):
    """I6: in the database, and to whoever asks. A sweep has a number and a key as a run has."""
    runs = runs_of(world)
    sweeps = {row["id"]: row for row in world.rows("SELECT id, key, points FROM sweep")}
    unknown = world.acknowledged - runs.keys() - sweeps.keys()
    problems = [f"I6: run {number} was promised and is not known" for number in sorted(unknown)]
    points = collections.Counter(row["sweep"] for row in world.rows("SELECT sweep FROM run WHERE sweep IS NOT NULL"))
    problems += [
        f"I6: sweep {number} has {points[number]} points of {row['points']}"
        for number, row in sweeps.items()
        if points[number] != row["points"]
    ]
    listed = {run["id"] for run in world.list()}
    problems += [f"I6: run {number} is recorded and not listed" for number in sorted(runs.keys() - listed)]
    for key, numbers in world.numbers_of_key.items():
        known = [number for number, row in [*runs.items(), *sweeps.items()] if row["key"] == key]
        if len(numbers) != 1 or known != list(numbers):
            problems.append(f"I6: the key {key} was answered with {sorted(numbers)} and has the runs {known}")
    return problems


def fates(world):
    """How many runs ended in which way, for a round's figures."""
    counted = collections.Counter()
    for row in world.rows("SELECT state, reason FROM run"):
        counted[row["state"] + (f"/{row['reason']}" if row["reason"] else "")] += 1
    lost = world.rows("SELECT count(*) AS n FROM attempt WHERE json_extract(record, '$.reason') = 'lost'")[0]["n"]
    resubmitted = world.rows("SELECT count(*) - count(DISTINCT run) AS n FROM element")[0]["n"]
    impossible = world.rows("SELECT count(*) AS n FROM event WHERE kind = 'impossible'")[0]["n"]
    return {**counted, "lost_attempts": lost, "resubmitted": resubmitted, "impossible": impossible}
