"""slurmctld or slurmdbd is away, for seconds or minutes, or was never there: no run changes its state for it."""

import os
import signal
import time

from lib.cases import Broken, case, wait_until
from lib.invariants import check, fates
from lib.shims import Counted

SLOW = "poll_interval = '30s'\nin_doubt_wait = '60s'"
FAST = "poll_interval = '1s'\nin_doubt_wait = '5s'"

# Polls that answer, from the moment at which Slurm is back until everything is known again. One of them may be for what
# accounting has to tell of a run that was over.
POLLS_MAX = 3

UNTIL = "until [[ -e {path} ]]; do sleep 0.2; done"


class Runs:
    """A run that waits in Slurm's queue, one that is at work, and one that is over."""

    def __init__(self, context):
        self.slurm = Counted(context.slurm(), context.tmp)
        self.world = context.world(self.slurm, keys=SLOW if context.campaign else FAST)
        self.go = self.world.home / "go"
        self.over = self.begin("over", ":", "cpu")
        self.until(self.over, "completed")
        self.waits = self.begin("waits", ":", "held")
        self.works = self.begin("works", UNTIL.format(path=self.go), "cpu")
        self.until(self.works, "running")
        wait_until("slurmctld has shown both", lambda: all(self.word(run) for run in (self.waits, self.works)))

    def begin(self, name, script, hardware, code=0):
        said = self.world.submit(self.world.spec(name, script, f"[compute]\nclass = '{hardware}'"))
        if said.code != code or said.number is None:
            raise Broken(f"submit {name}: {said}")
        return said.number

    def word(self, run):
        attempts = self.world.show(run)["attempts"]
        return attempts and attempts[-1]["slurm_state"]

    def state(self, run):
        return self.world.show(run)["state"]

    def until(self, run, *states, patience=180):
        wait_until(f"run {run} is {states}", lambda: self.state(run) in states, patience, 0.2)

    def finish(self):
        """Lets everything end, and says what is broken."""
        self.go.touch()
        job = self.world.show(self.waits)["attempts"][-1]["job_id"]
        self.slurm.ask("scontrol", "release", str(job))
        settled = self.world.settle(240)
        late = [] if settled is not None else [f"not all was over in time: {fates(self.world)}"]
        return late + check(self.world)


def watch(runs, seconds, expected, problems):
    """Looks again and again whether a run has changed its state; `expected` has the words that each may have."""
    changed, deadline = {}, time.monotonic() + seconds
    while time.monotonic() < deadline:
        for run in runs.world.list():
            if run["id"] in expected and run["state"] not in expected[run["id"]]:
                changed[run["id"]] = run["state"]
        time.sleep(1)
    problems += [f"run {run} became {state} while Slurm was away" for run, state in changed.items()]


def stale(runs, *numbers):
    listed = {run["id"]: run for run in runs.world.list()}
    return [number for number in numbers if listed[number]["stale_since"] is not None]


def caught_up(runs, since, polls_of, condition, problems):
    """How long it took from a moment on, and how many polls that answered."""
    wait_until("everything is known again", condition, 400, 0.1)
    now = Counted.now()
    polls = len(runs.slurm.calls(since, polls_of, only_good=True))
    if polls > POLLS_MAX:
        problems.append(f"it took {polls} polls until everything was known again")
    return now - since, polls


@case("away", rounds=1, campaign=1)
def away(context):
    """slurmctld is away for 20 s, in a campaign for 5 minutes."""
    runs, problems = Runs(context), []
    runs.slurm.daemon("stop")
    late = runs.begin("late", ":", "cpu", code=8)
    expected = {runs.over: ["completed"], runs.waits: ["queued"], runs.works: ["running"], late: ["submitting"]}
    watch(runs, context.size(20, 300), expected, problems)
    exposed = [runs.waits, runs.works, late]
    if stale(runs, runs.waits, runs.works) != [runs.waits, runs.works] or stale(runs, runs.over):
        problems.append(f"stale_since is shown for {stale(runs, runs.over, *exposed)}")
    back = Counted.now()
    runs.slurm.up()
    seconds, polls = caught_up(runs, back, "squeue", lambda: not stale(runs, *exposed), problems)
    runs.until(late, "queued", "running", "finishing", "completed")
    problems += runs.finish()
    if problems:
        raise Broken(problems)
    return {**fates(runs.world), "caught_up_s": seconds, "polls": polls}


@case("away_dbd", rounds=1, campaign=1)
def away_dbd(context):
    """slurmdbd is away for 20 s, in a campaign for 10 minutes, while a job ends and leaves the queue."""
    runs, problems = Runs(context), []
    ends = runs.world.home / "ends"
    ending = runs.begin("ends", UNTIL.format(path=ends), "cpu")
    runs.until(ending, "running")
    wait_until("slurmctld has shown it", lambda: runs.word(ending))
    job = runs.world.show(ending)["attempts"][-1]["job_id"]
    runs.slurm.daemon("stop", "slurmdbd")
    # The daemon sees nothing until only accounting could tell how the job ended.
    daemon = runs.world.daemon_pid()
    os.kill(daemon, signal.SIGSTOP)
    ends.touch()
    wait_until("slurmctld has forgotten the job", lambda: job not in {one.id for one in runs.slurm.queue()}, 180, 1)
    os.kill(daemon, signal.SIGCONT)
    # What the script itself says is news.
    words = ["running", "finishing"]
    expected = {runs.over: ["completed"], runs.waits: ["queued"], runs.works: ["running"], ending: words}
    watch(runs, context.size(20, 600), expected, problems)
    if stale(runs, ending) != [ending] or stale(runs, runs.over):
        problems.append(f"stale_since is shown for {stale(runs, runs.over, runs.waits, runs.works, ending)}")
    runs.slurm.up()
    wait_until("accounting has the job's end", lambda: any(
        one.id == job and one.state == "COMPLETED" for one in runs.slurm.accounted()), 180, 0.5)
    seconds, polls = caught_up(runs, Counted.now(), "sacct", lambda: runs.state(ending) == "completed", problems)
    problems += runs.finish()
    if problems:
        raise Broken(problems)
    return {**fates(runs.world), "caught_up_s": seconds, "polls": polls}


@case("absent", rounds=1, campaign=5)
def absent(context):
    """slurmctld is not there when the daemon starts, and comes later."""
    slurm = context.slurm()
    slurm.daemon("stop")
    world = context.world(slurm, keys=SLOW if context.campaign else FAST)
    spec, problems = world.spec("absent"), []
    for number in range(3):
        said = world.submit(spec, key=f"key-{number}")
        if said.code != 8 or said.number is None:
            problems.append(f"without slurmctld submit said {said}")
    quick = world.run("list")
    if quick.code != 0 or quick.seconds > 2:
        problems.append(f"without slurmctld list took {quick.seconds:.1f} s: {quick}")
    world.kill_daemon()
    world.start_daemon()
    time.sleep(context.random.uniform(0, 5))
    states = {run["state"] for run in world.list()}
    if states != {"submitting"}:
        problems.append(f"without slurmctld runs are {states}")
    slurm.up()
    settled = world.settle(300)
    problems += check(world)
    if settled is None or fates(world).get("completed") != 3:
        problems.append(f"not all completed: {fates(world)}")
    if problems:
        raise Broken(problems)
    return {**fates(world), "settled_s": settled}
