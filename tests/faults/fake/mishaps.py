"""What can go wrong with a call, by command. Each mishap gives the steps that the command's program takes.

A mishap of sbatch says for itself whether the job comes into being; no mishap of a query changes anything that is true.
"""

import dataclasses
import random as randoms

FLOOD_MIB = 100
SQUEUE, SACCT, SBATCH, SCANCEL, SCONTROL = {}, {}, {}, {}, {}
TABLES = {"squeue": SQUEUE, "sacct": SACCT, "sbatch": SBATCH, "scancel": SCANCEL, "scontrol": SCONTROL}


@dataclasses.dataclass(frozen=True)
class Mishap:
    steps: object
    # Takes long, or much of the machine: never part of a storm.
    is_slow: bool


def mishap(*tables, is_slow=False):
    """Registers a function of a call under its name."""

    def register(function):
        for table in tables:
            table[function.__name__] = Mishap(function, is_slow)
        return function

    return register


def out(data):
    return ["out", data if isinstance(data, str) else data.decode("latin-1")]


def err(text):
    return ["err", text + "\n"]


def binary(random, count):
    return bytes(random.randrange(256) for _ in range(count))


# --- Every query

QUERIES = (SQUEUE, SACCT, SCONTROL)


@mishap(*QUERIES)
def empty(_call):
    return []


@mishap(*QUERIES)
def cut(call):
    text = call.honest()
    return [out(text[: call.random.randrange(len(text))] if text else "")]


@mishap(*QUERIES)
def cut_at_a_line(call):
    lines = call.honest().splitlines(keepends=True)
    return [out("".join(lines[: call.random.randrange(len(lines))]) if lines else "")]


@mishap(*QUERIES, SCANCEL)
def denied(call):
    return [err(f"{call.name}: error: Access/permission denied"), ["exit", 1]]


@mishap(*QUERIES, SCANCEL)
def error_with_exit_0(call):
    return [err(f"{call.name}: error: Invalid job format specification: restartcnt")]


@mishap(*QUERIES, SCANCEL)
def killed(call):
    return [out(call.honest()[:50]), ["kill"]] if call.name != "scancel" else [["kill"]]


@mishap(*QUERIES)
def junk(call):
    return [out(binary(call.random, 3000) + b"\n")]


@mishap(*QUERIES)
def not_utf8(call):
    """Honest, but for some bytes in its midst."""
    data = bytearray(call.honest().encode("latin-1"))
    for _ in range(1 + len(data) // 500):
        data.insert(call.random.randrange(len(data) + 1), call.random.randrange(0x80, 0x100))
    return [out(bytes(data))]


@mishap(*QUERIES)
def late(call):
    """It takes its time."""
    return [["sleep", 1.5], out(call.honest())]


@mishap(*QUERIES, is_slow=True)
def hang(_call):
    return [["sleep", 300]]


@mishap(*QUERIES, is_slow=True)
def flood(_call):
    return [["flood", 1, FLOOD_MIB, "all work and no play\n"]]


@mishap(*QUERIES, is_slow=True)
def flood_of_words(call):
    return [out(call.honest()), ["flood", 2, FLOOD_MIB, "warning\n"]]


# --- squeue


@mishap(SQUEUE)
def header_only(call):
    return [out(call.rendered([{name: name.upper() for name, _ in call.columns}]))]


@mishap(SQUEUE)
def banner(call):
    return [out("*** maintenance on Monday ***\n\n" + call.honest())]


@mishap(SQUEUE)
def an_hour_old(call):
    """The queue as it was once, with all that has changed since left out."""
    return [out(call.rendered(call.cluster.old_queue()))]


@mishap(SQUEUE)
def short_rows(call):
    """A column is missing, in some rows or in all."""
    missing = call.random.randrange(len(call.columns))
    lines = []
    for row in call.rows():
        columns = list(call.columns)
        if call.random.random() < 0.7:
            del columns[missing]
        lines.append("".join(row.get(name, "") + behind for name, behind in columns))
    return [out("".join(line + "\n" for line in lines))]


# --- sacct


def changed(call, change):
    return [out(call.rendered([row for known in call.rows() for row in change(dict(known))]))]


@mishap(SACCT)
def strangers(call):
    """Rows of others under the same ids, before ours and behind them."""

    def with_strangers(row):
        other = {**row, "State": "COMPLETED", "ExitCode": "0:0", "User": "mallory", "JobName": "mine"}
        copied = {**row, "State": "COMPLETED", "User": "mallory"}
        old = {**row, "State": "COMPLETED", "JobName": row["JobName"], "Submit": "1500000000", "End": "1500000009"}
        return [other, copied, row, {**other, "State": "FAILED"}, old]

    return changed(call, with_strangers)


@mishap(SACCT)
def odd_states(call):
    words = ("HIBERNATING", "LAUNCH_FAILED", "REVOKED", "COMPLET+", "", "completed", "UPDATE_DB", "FAILED?")
    return changed(call, lambda row: [{**row, "State": call.random.choice(words)}])


@mishap(SACCT)
def cut_words(call):
    """As a narrow column shows them; still true."""

    def narrow(row):
        state = row["State"]
        return [{**row, "State": state if len(state) <= 9 else state[:9] + "+"}]

    return changed(call, narrow)


@mishap(SACCT)
def allocations(call):
    return changed(call, lambda row: [{**row, "State": "PENDING", "JobName": "allocation"}])


@mishap(SACCT)
def ghosts(call):
    """Beside each record the one that a refused submission leaves."""
    ghost = {"State": "FAILED", "ExitCode": "0:1", "ElapsedRaw": "0", "NodeList": "None assigned"}
    return changed(call, lambda row: [row, {**row, **ghost, "Submit": str(int(row["Submit"]) + 1)}])


@mishap(SACCT)
def steps(call):
    def with_steps(row):
        number = row["JobID"]
        kinds = (".batch", ".extern", ".0")
        return [row] + [
            {**row, "JobID": number + kind, "JobIDRaw": number + kind, "State": call.random.choice(("FAILED", "COMPLETED"))}
            for kind in kinds
        ]

    return changed(call, with_steps)


@mishap(SACCT)
def no_times(call):
    word = call.random.choice(("Unknown", "None", "INVALID"))
    return changed(call, lambda row: [{**row, "Submit": word, "Start": word, "End": word, "Eligible": word}])


@mishap(SACCT)
def runs_for_ever(call):
    """Accounting has not heard of any end."""
    late = {"State": "RUNNING", "End": "Unknown", "ExitCode": "0:0"}
    return changed(call, lambda row: [{**row, **late}])


@mishap(SACCT)
def disabled(_call):
    return [err("Slurm accounting storage is disabled"), ["exit", 1]]


# --- sbatch: `call.submit()` makes the job and gives its number


def failed(why):
    return [err(f"sbatch: error: Batch job submission failed: {why}"), ["exit", 1]]


@mishap(SBATCH)
def fails_and_submits(call):
    call.submit()
    return failed("Socket timed out on send/recv operation")


@mishap(SBATCH)
def fails_silently_and_submits(call):
    call.submit()
    return [["exit", 1]]


@mishap(SBATCH)
def fails_with_noise_and_submits(call):
    call.submit()
    return [err("sbatch: lua: good luck to job scripts today"), ["exit", 1]]


@mishap(SBATCH)
def breaks_off_and_submits(call):
    """A wrapper over ssh that lost its connection: it ends with 255, as an sbatch with a wrong option does."""
    call.submit()
    return [err("Connection to login1 closed by remote host."), ["exit", 255]]


@mishap(SBATCH)
def fails_and_submits_later(call):
    """The request is still on its way when sbatch gives up."""
    call.submit(after=call.random.uniform(0.5, 5))
    return failed("Zero Bytes were transmitted or received")


@mishap(SBATCH)
def fails(_call):
    return failed("Unexpected message received")


@mishap(SBATCH)
def away(_call):
    return failed("Unable to contact slurm controller (connect failure)")


@mishap(SBATCH)
def no_id(call):
    call.submit()
    return []


@mishap(SBATCH)
def two_ids(call):
    number = call.submit()
    return [out(f"{number}\n{number + 1000}\n")]


@mishap(SBATCH)
def another_text(call):
    return [out(f"Submitted batch job {call.submit()}\n")]


@mishap(SBATCH)
def banner_around(call):
    return [out(f"Welcome!\n\n{call.submit()}\nHave a nice day\n"), err("sbatch: Warning: you are at 99% of your quota")]


@mishap(SBATCH)
def junk_and_submits(call):
    call.submit()
    return [out(binary(call.random, 5000))]


@mishap(SBATCH)
def id_and_exit_1(call):
    return [out(f"{call.submit()}\n"), ["exit", 1]]


@mishap(SBATCH)
def killed_and_submits(call):
    call.submit()
    return [["kill"]]


@mishap(SBATCH)
def slow(call):
    return [["sleep", 1.5], out(f"{call.submit()}\n")]


@mishap(SBATCH, is_slow=True)
def hang_and_submits(call):
    """It answers, but long after the job is there."""
    number = call.submit()
    return [["sleep", call.cluster.hang_seconds], out(f"{number}\n")]


@mishap(SBATCH, is_slow=True)
def flood_and_submits(call):
    number = call.submit()
    return [["flood", 1, FLOOD_MIB, "all work and no play\n"], out(f"{number}\n")]


@mishap(SBATCH, is_slow=True)
def words_without_end(call):
    number = call.submit()
    return [["flood", 2, FLOOD_MIB, "\u00ff warning"], out(f"{number}\n")]


# --- scancel


@mishap(SCANCEL)
def does_nothing(_call):
    return []


@mishap(SCANCEL)
def cancels_and_fails(call):
    call.cancel()
    return [err("scancel: error: Kill job error on job id: Socket timed out on send/recv operation"), ["exit", 1]]


def drawn(seed):
    """The randomness of one call."""
    return randoms.Random(seed)
