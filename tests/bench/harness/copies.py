"""Many runs from one: copies of a run's rows in the database of a daemon that is not there.

The program records the original by itself. A copy has its own number, token and job, and no run directory.
"""

import contextlib
import json
import pathlib
import random
import sqlite3
from collections.abc import Iterator, Sequence

from harness.slurm import Slurm

#: As `domain::ids::Token` writes its 100 bits.
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@contextlib.contextmanager
def opened(database: pathlib.Path) -> Iterator[sqlite3.Connection]:
    db = sqlite3.connect(database)
    db.execute("PRAGMA foreign_keys = off")
    with db:
        yield db
    db.close()


def columns_of_run(db: sqlite3.Connection, without: Sequence[str]) -> str:
    names = [row[1] for row in db.execute("PRAGMA table_info(run)")]
    return ", ".join(name for name in names if name not in without)


def next_number(db: sqlite3.Connection) -> int:
    return db.execute("SELECT max(id) FROM number").fetchone()[0] + 1


def copy_ended(database: pathlib.Path, source: int, count: int) -> None:
    """Copies a run that is over, with its attempt, events and metrics."""
    with opened(database) as db:
        first = next_number(db)
        numbers = [(number,) for number in range(first, first + count)]
        kept = columns_of_run(db, ("id", "key", "machine"))
        submission = db.execute("SELECT submission FROM attempt WHERE run = ?", [source]).fetchone()[0]
        statements = (
            "INSERT INTO number (id) VALUES (?1)",
            f"INSERT INTO run (id, machine, {kept}) SELECT ?1, json_set(machine, '$.id', ?1), {kept} FROM run "
            f"WHERE id = {source}",
            "INSERT INTO submission (id, cluster, token, job_name, kind, owner, intent_at, outcome) SELECT 1000000 + ?1, "
            "cluster, 'copy' || ?1, 'copy' || ?1, kind, owner, intent_at, outcome FROM submission "
            f"WHERE id = {submission}",
            "INSERT INTO element (submission, idx, run, attempt_base) VALUES (1000000 + ?1, 0, ?1, 1)",
            "INSERT INTO attempt (submission, idx, restart, run, n, record) SELECT 1000000 + ?1, 0, 0, ?1, 1, record "
            f"FROM attempt WHERE run = {source}",
            f"INSERT INTO event (run, at, kind, message) SELECT ?1, at, kind, message FROM event WHERE run = {source}",
            "INSERT INTO metric (run, name, step, at, value, word) SELECT ?1, name, step, at, value, word FROM metric "
            f"WHERE run = {source}",
            "INSERT INTO metric_tail SELECT ?1, device, inode, offset, points, progress, newest FROM metric_tail "
            f"WHERE run = {source}",
        )
        for statement in statements:
            db.executemany(statement, numbers)


def copy_live(database: pathlib.Path, source: int, count: int, slurm: Slurm) -> list[int]:
    """Copies a run whose job waits, and submits a held job for each copy. Gives the jobs."""
    bits = random.Random(count)
    with opened(database) as db:
        first = next_number(db)
        kept = columns_of_run(db, ("id", "key", "machine", "run_dir"))
        of_run = "SELECT machine, run_dir FROM run WHERE id = ?"
        of_attempt = "SELECT record, submission FROM attempt WHERE run = ?"
        machine_text, run_dir = db.execute(of_run, [source]).fetchone()
        record_text, submission = db.execute(of_attempt, [source]).fetchone()
        root, _, name = run_dir.rpartition("/")
        name = name.partition("-")[2]
        tokens = ["ty" + "".join(bits.choices(LETTERS, k=20)) for _ in range(count)]
        job_names = [f"{first + index}-{name}.1.{token}" for index, token in enumerate(tokens)]
        jobs = slurm.hold(job_names)
        for index, (token, job_name, job) in enumerate(zip(tokens, job_names, jobs)):
            number, key = first + index, f"test:{job}"
            copy = 1_000_000 + number
            machine, record = json.loads(machine_text), json.loads(record_text)
            machine["id"] = number
            machine["submission"].update(id=copy, token=token, job=key)
            machine["attempt"].update(submission=copy, job=key)
            record.update(submission=copy, job=key)
            answer = json.dumps({"answer": "acknowledged", "job": key, "notices": ""})
            db.execute("INSERT INTO number (id) VALUES (?)", [number])
            db.execute(
                f"INSERT INTO run (id, machine, run_dir, {kept}) SELECT ?, ?, ?, {kept} FROM run WHERE id = ?",
                [number, json.dumps(machine), f"{root}/{number}-{name}", source],
            )
            db.execute(
                "INSERT INTO submission (id, cluster, token, job_name, kind, owner, intent_at, job_id, outcome, answer, "
                "host, called_at) SELECT ?, cluster, ?, ?, kind, owner, intent_at, ?, outcome, ?, host, called_at "
                "FROM submission WHERE id = ?",
                [copy, token, job_name, job, answer, submission],
            )
            db.execute("INSERT INTO element (submission, idx, run, attempt_base) VALUES (?, 0, ?, 1)", [copy, number])
            db.execute(
                "INSERT INTO attempt (submission, idx, restart, run, n, record) VALUES (?, 0, 0, ?, 1, ?)",
                [copy, number, json.dumps(record)],
            )
            db.execute(
                "INSERT INTO event (run, at, kind, message) SELECT ?, at, kind, message FROM event WHERE run = ?",
                [number, source],
            )
    return jobs
