"""Job ids that were given to others: slurmctld begins to count anew, and accounting still has the old jobs of those ids."""

import shutil

from lib.cases import Broken, case, wait_until
from lib.invariants import attempts_of, check, fates

KEYS = "poll_interval = '1s'\nin_doubt_wait = '5s'\nlost_after = '20s'"
STRANGERS = 8


def strangers(slurm, user, *words):
    """Jobs of somebody else, or of ours by hand; gives their ids."""
    options = ["--parsable", "--output=/dev/null", "--chdir=/tmp", "--job-name=stranger", f"--uid={user}", *words]
    return [int(slurm.ask("sbatch", *options).split(";")[0]) for _ in range(STRANGERS)]


def begin_anew(slurm):
    """slurmctld loses all it knew: its next job has the first id again."""
    slurm.daemon("kill")
    shutil.rmtree(slurm.dir / "state")
    (slurm.dir / "state").mkdir()
    slurm.up()


def job_of(world, run):
    key = attempts_of(world)[run][-1]["job"]
    return int(key.rsplit(":", 1)[1])


def old_rows(slurm):
    """Jobs that are over, whose ids are then given again: of another user and of our own, some well and some not."""
    begin_anew(slurm)
    old = strangers(slurm, "nobody", "--wrap=false") + strangers(slurm, "root", "--wrap=true")
    wait_until("accounting has their ends", lambda: {job.id for job in slurm.accounted() if job.state in (
        "COMPLETED", "FAILED")} >= set(old), 60, 0.5)
    begin_anew(slurm)
    return old


def is_settled(world):
    """slurmctld must have saved what is there."""
    unsettled = "SELECT 1 FROM run WHERE json_extract(machine, '$.submission.provisional') AND state IN ('queued', 'running')"
    return not world.rows(unsettled)


@case("reused", rounds=2, campaign=6)
def reused(context):
    """Job ids are given to strangers, and were strangers' before, in accounting too."""
    slurm = context.slurm() if context.round % 2 else context.slurm("--no-accounting")
    old = []
    if slurm.has_accounting:
        slurm.ask("sacctmgr", "-i", "add", "user", "nobody", "account=ml", check=False)
        old = old_rows(slurm)
    else:
        begin_anew(slurm)
    world, problems = context.world(slurm, keys=KEYS), []
    held = world.submit(world.spec("held", ":", "[compute]\nclass = 'held'")).number
    works = world.submit(world.spec("works", "live 600")).number
    short = world.submit(world.spec("short", "sleep 1")).number
    wait_until("slurmctld has shown them", lambda: world.show(works)["state"] == "running" and world.show(short)[
        "state"] == "completed", 60, 0.2)
    ours = {run: job_of(world, run) for run in (held, works, short)}
    if slurm.has_accounting and not set(ours.values()) <= set(old):
        problems.append(f"the ids {ours} were not used before: {old}")
    if world.show(held)["state"] != "queued":
        problems.append(f"the run that waits is told of an old job: {world.show(held)}")
    wait_until("they are settled", lambda: is_settled(world), 60, 0.5)
    world.kill_daemon()
    # A slurmctld that begins anew has accounting close what was open: CANCELLED is then the last word of our own jobs.
    begin_anew(slurm)
    new = strangers(slurm, context.random.choice(("nobody", "root")), "--wrap=sleep 30")
    if not set(ours.values()) <= set(new):
        problems.append(f"the ids {ours} were not used again: {new}")
    world.start_daemon()
    ended = wait_until("the one at work is over", lambda: world.show(works)["ended_at"] and world.show(works), 120, 0.5)
    expected = ("cancelled", "cancelled_by_admin") if slurm.has_accounting else ("failed", "lost")
    if (ended["state"], ended["reason"]) != expected:
        problems.append(f"a stranger's job was taken for the run's: {ended}")
    # The one that had never started is made up for, where nobody says that it was cancelled.
    wait_until("the one that waited is settled", lambda: world.show(held)["ended_at"] or job_of(world, held) not in new, 120, 0.5)
    alive = {job.id for job in slurm.queue() if job.name == "stranger" and job.state != "CANCELLED"}
    if not set(new) <= alive:
        problems.append(f"strangers' jobs were cancelled: {sorted(set(new) - alive)}")
    if not world.show(held)["ended_at"]:
        slurm.ask("scontrol", "release", str(job_of(world, held)))
    settled = world.settle(120)
    problems += check(world, once=False, remembers=False)
    if settled is None or world.show(short)["state"] != "completed" or world.show(held)["state"] == "failed":
        problems.append(f"the others ended otherwise: {fates(world)}")
    if problems:
        raise Broken(problems)
    return {"ids_reused": len(set(ours.values()) & set(new)), **fates(world)}
