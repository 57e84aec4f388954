"""The invariants themselves: each must say so when it is broken, or it proves nothing."""

import sqlite3

from lib.cases import Broken, case
from lib.invariants import check


def record(world, statement):
    with sqlite3.connect(world.state / "trainyard.db") as database:
        database.execute(statement)


def append(world, change):
    """Leaves another line in the trace, made of the first one's words."""
    words = world.trace.read_text().splitlines()[0].split(" ")
    with world.trace.open("a") as trace:
        trace.write(" ".join(change(words)) + "\n")


def forge(world, name):
    """Breaks one thing."""
    first = world.rows("SELECT min(id) AS id FROM run")[0]["id"]
    if name == "I1":
        record(world, f"UPDATE run SET state = 'queued' WHERE id = {first}")
    elif name == "I2 twice":
        append(world, lambda words: words)
    elif name == "I2 again":
        append(world, lambda words: [*words[:-1], "999"])
    elif name == "I2 at once":
        # As if the first had been killed, and had given a sign of life after the second began.
        lines = [line.split(" ") for line in world.trace.read_text().splitlines()]
        lines = [line for line in lines if line[0] != "end"]
        start = lines[0]
        at = float(start[5])
        lines += [["start", *start[1:5], str(at + 1), "999"], ["beat", *start[1:5], str(at + 2), start[6]]]
        world.trace.write_text("".join(" ".join(line) + "\n" for line in lines))
    elif name == "I2 twins":
        append(world, lambda words: [*words[:2], "999", *words[3:]])
    elif name == "I2 unknown":
        append(world, lambda words: [words[0], "999", *words[2:]])
    elif name == "I4":
        record(world, f"INSERT INTO event (run, at, kind, message) VALUES ({first}, 0, 'state', 'completed → running')")
    elif name == "I6 number":
        world.acknowledged.add(999)
    elif name == "I6 key":
        world.numbers_of_key["key-0"].add(999)


FORGERIES = ("I1", "I2 twice", "I2 again", "I2 at once", "I2 twins", "I2 unknown", "I4", "I6 number", "I6 key")


@case("checks", rounds=1, campaign=1)
def checks(context):
    """What the invariants say of worlds in which one of them is broken on purpose."""
    slurm, problems = context.slurm(), []
    for name in FORGERIES:
        world = context.world(slurm, name=name.replace(" ", "-"))
        spec = world.spec("checked")
        for number in range(2):
            world.submit(spec, key=f"key-{number}")
        if world.settle(60) is None or check(world):
            raise Broken(f"a world that nobody attacked is not whole: {check(world)}")
        forge(world, name)
        said = check(world)
        if not any(problem.startswith(name.split(" ")[0]) for problem in said):
            problems.append(f"{name} was broken, and the invariants say {said}")
        world.close()
    if problems:
        raise Broken(problems)
    return {"forgeries": len(FORGERIES)}
