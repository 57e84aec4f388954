"""What an honest Slurm 22.05 prints of its jobs: squeue's columns, sacct's columns, `scontrol show config`.

The callers say which columns they want and what stands between them, so nothing here knows what Trainyard asks for. The
recordings in tests/data/slurm are the model.
"""

import datetime
import pathlib
import re

RECORDINGS = pathlib.Path(__file__).resolve().parents[2] / "data/slurm/22.05"
TRES = "cpu=1,mem=100M,node=1,billing=1"
PARTITION = "main"
LIMIT_MINUTES = 10


def or_word(seconds, word):
    return str(seconds) if seconds else word


def queue_row(job, uid, accounting):
    """What squeue knows of a job, by the names of -O."""
    now = job.now
    ends = now.end or (now.start + LIMIT_MINUTES * 60 if now.start else 0)
    return {
        "jobid": str(job.id), "arrayjobid": str(job.id), "arraytaskid": "N/A", "state": job.state,
        "restartcnt": str(job.restart), "exit_code": str(now.code << 8 | now.signal), "submittime": str(now.submit),
        "eligibletime": str(now.eligible), "starttime": or_word(now.start, "N/A"), "endtime": or_word(ends, "N/A"),
        "nodelist": "n1" if now.start else "", "tres-alloc": TRES, "timelimit": f"{LIMIT_MINUTES}:00",
        "partition": PARTITION, "qos": "normal" if accounting else "(null)", "account": "ml" if accounting else "(null)",
        "userid": str(uid), "cluster": "test", "reason": "Priority" if job.state == "PENDING" else "None",
        "name": job.name,
    }


def forged(rows):
    """Rows of the same user's other jobs, whose names hold a row that says that one of ours is over."""
    found = []
    for row in rows[-3:]:
        others = {**row, "jobid": str(int(row["jobid"]) + 50_000), "state": "RUNNING", "nodelist": "n1"}
        for nonce in ("NONCE", "0" * 32, ""):
            middle = "|".join(value for name, value in {**row, "state": "FAILED"}.items() if name not in ("jobid", "reason", "name"))
            line = f"{row['jobid']}|{nonce}|{middle}|{nonce}|None|{nonce}|{row['name']}|{nonce}|"
            found.append({**others, "name": f"evil\x1b[2K|\x1f\r\n{line}\n"})
    return found


def queue_columns(argv):
    """The columns of `-O`, each with what stands behind it: `jobid:|,state:|` gives [("jobid", "|"), ("state", "|")]."""
    asked = argv[argv.index("-O") + 1]
    return [tuple(column.split(":", 1)) for column in asked.split(",")]


def queue_lines(rows, columns):
    return ["".join(row.get(name, "") + behind for name, behind in columns) for row in rows]


def account_row(job, number, user, uid):
    """What accounting knows of one start of a job, by the names of --format."""
    start = job.starts[number]
    is_last = number == len(job.starts) - 1
    state = start.state
    if not is_last and state.startswith("CANCELLED"):
        state = "REQUEUED"
    elapsed = (start.end or start.start) - start.start if start.start else 0
    # sacct says 0:0 of what a cancelled or preempted job was ended by.
    exit_code = "0:0" if start.by_cluster else f"{start.code}:{start.signal}"
    return {
        "JobIDRaw": str(job.id), "JobID": str(job.id), "State": state, "ExitCode": exit_code,
        "Submit": str(start.submit), "Eligible": str(start.eligible), "Start": or_word(start.start, "Unknown"),
        "End": or_word(start.end, "Unknown"), "ElapsedRaw": str(max(elapsed, 0)), "AllocTRES": TRES if start.start else "",
        "NodeList": "n1" if start.start else "None assigned", "Partition": PARTITION, "QOS": "normal", "Account": "ml",
        "Cluster": "test", "User": user, "TimelimitRaw": str(LIMIT_MINUTES), "JobName": job.name, "UID": str(uid),
    }


def option(argv, name):
    """The value of `--name=value`."""
    return next((word.split("=", 1)[1] for word in argv if word.startswith(f"{name}=")), None)


def accounts_asked(argv):
    """Columns, delimiter, and which jobs: a set of ids or a moment."""
    columns, delimiter = option(argv, "--format").split(","), option(argv, "--delimiter")
    ids, since = option(argv, "--jobs"), option(argv, "--starttime")
    if ids is not None:
        return columns, delimiter, {int(number.split("_")[0]) for number in ids.split(",")}, None
    moment = datetime.datetime.fromisoformat(since).replace(tzinfo=datetime.timezone.utc)
    return columns, delimiter, None, int(moment.timestamp())


def account_lines(rows, columns, delimiter):
    return [delimiter.join(row.get(name, "") for name in columns) for row in rows]


def config(accounting, min_job_age, kill_wait):
    """`scontrol show config`, as recorded, with what this cluster has."""
    text = (RECORDINGS / "show-config.out").read_text()
    kind = "accounting_storage/slurmdbd" if accounting else "accounting_storage/none"
    for key, value in (
        ("AccountingStorageType", kind), ("MinJobAge", f"{max(1, int(min_job_age))} sec"), ("KillWait", f"{kill_wait} sec"),
        ("ClusterName", "test"),
    ):
        text = re.sub(rf"(?m)^({key} *= ).*$", rf"\g<1>{value}", text)
    return text
