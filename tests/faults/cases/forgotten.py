"""slurmctld dies in the seconds after it has acknowledged a job, before it saved that job, and is started again."""

import time

from lib.cases import Broken, case
from lib.invariants import attempts_of, check, fates, starts_of, submissions_of

SUSPECTED_SECONDS = 90
RESUBMITTED_SECONDS = 240

SLOW = "poll_interval = '30s'\nin_doubt_wait = '60s'"
FAST = "poll_interval = '1s'\nin_doubt_wait = '5s'\nlost_after = '20s'"

# A job that waits when slurmctld dies, one that is over soon, and one that is at work.
KINDS = {
    "waits": (":", "class = 'later'"),
    "short": ("sleep 1", "class = 'cpu'"),
    "works": ("live 20", "class = 'cpu'"),
}


class Strangers:
    """Jobs that are nothing to Trainyard, so that ids of forgotten jobs are given to them."""

    def __init__(self, slurm, count):
        words = ["--parsable", "--output=/dev/null", "--chdir=/tmp", "--job-name=stranger", "--wrap=sleep 5"]
        self.ids = {int(slurm.ask("sbatch", *words).split(";")[0]) for _ in range(count)}


def moment_of(world, query, run, after):
    """When the history of a run first has such a line after a moment, in seconds since then; None while it has none."""
    rows = world.rows(query, run, int(after * 1000))
    return rows[0]["at"] / 1000 - after if rows else None


SUSPICION = "SELECT at FROM event WHERE run = ? AND at > ? AND kind = 'doubt' ORDER BY id"
RESUBMISSION = """SELECT s.intent_at AS at FROM submission s JOIN element e ON e.submission = s.id
                  WHERE e.run = ? AND s.intent_at > ? ORDER BY s.id"""


@case("forgotten", rounds=2, campaign=50)
def forgotten(context):
    """slurmctld is killed 0 to 6 s after it acknowledged a job, and strangers get that job's id."""
    slurm = context.slurm()
    slurm.heal()
    world = context.world(
        slurm, keys=SLOW if context.campaign else FAST, classes={"later": "directives = ['--begin=now+12seconds']"}
    )
    kind = list(KINDS)[context.round % len(KINDS)]
    script, compute = KINDS[kind]
    spec = world.spec(kind, script, f"[compute]\n{compute}")
    # slurmctld saves at once what comes after a quiet time, and what comes next only some seconds later.
    slurm.ask("sbatch", "--parsable", "--hold", "--wrap=true", "--chdir=/tmp", "--output=/dev/null")
    said = world.submit(spec)
    if said.code != 0:
        raise Broken(f"submit: {said}")
    run = said.number
    time.sleep(context.random.uniform(0, 6))
    slurm.daemon("kill")
    killed = time.time()
    first = attempts_of(world)[run][0] if run in attempts_of(world) else None
    token = submissions_of(world)[run][0]["token"]
    slurm.up()
    slurm.heal()
    is_forgotten = not any(job.name.endswith(token) for job in slurm.queue())
    strangers = Strangers(slurm, 3)
    started = [start.job for start in starts_of(world)[0].get(run, [])]
    settled = world.settle(context.size(120, 900))
    kept = attempts_of(world)[run]
    first = first or kept[0]
    job = int(first["job"].rsplit(":", 1)[1])
    suspected, resubmitted = (moment_of(world, query, run, killed) for query in (SUSPICION, RESUBMISSION))
    problems = check(world, once=False, remembers=False)
    if settled is None:
        problems.append("the run was not over in time")
    if fates(world).get("completed") != 1:
        problems.append(f"the run did not complete: {world.show(run)}")
    # An attempt of a job that was forgotten at work is lost; none is ever told of a stranger's job.
    if any(int(attempt["job"].rsplit(":", 1)[1]) in strangers.ids - {job} and attempt["state"] != "failed" for attempt in kept[:1]):
        problems.append(f"a stranger's job was taken for the run's: {kept}")
    is_lost = is_forgotten and len(kept) > 1
    figures = {"forgotten": int(is_forgotten), "made_up_for": int(is_lost), "id_reused": int(job in strangers.ids), kind: 1,
               "lost_attempts": fates(world)["lost_attempts"], "started_before": len(started)}
    if is_lost:
        if suspected is None or suspected > SUSPECTED_SECONDS:
            problems.append(f"a {kind} loss was suspected after {suspected} s")
        if resubmitted is None or resubmitted > RESUBMITTED_SECONDS:
            problems.append(f"a {kind} loss was made up for after {resubmitted} s")
        figures |= {"suspected_s": suspected or 0.0, "resubmitted_s": resubmitted or 0.0}
    if problems:
        raise Broken([f"{kind}, forgotten: {is_forgotten}, job {job}, strangers {sorted(strangers.ids)}", *problems])
    return figures
