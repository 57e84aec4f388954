#!/usr/bin/env python3
"""Lets Optuna look for good settings of a training, and Trainyard train them.

    python3 drive.py --trials 30
    python3 drive.py --trials 60 --close

What Optuna proposes (its `study.ask`) the sweep is told; what the sweep answers when it is asked, Optuna is told (its
`study.tell`). Nothing is lost or done twice when this program is killed and started again: Optuna keeps its study in a file,
the sweep is found by the key it was submitted with, and each trial is told with its number as a key. With more trials it goes
on where it ended, until it is called with `--close`: then the sweep takes no more, and another study has to be begun.
"""

import argparse
import json
import subprocess
import sys
import tomllib

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

SPEC = "run.toml"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30, help="how many points are tried, those of earlier calls included")
    parser.add_argument("--at-a-time", type=int, default=4, help="how many are waited for at a time")
    parser.add_argument("--close", action="store_true", help="these are the last trials: the sweep and the study are over then")
    parser.add_argument("--study", default="tuned", help="another name is another study, and another sweep")
    args = parser.parse_args()

    with open(SPEC, "rb") as file:
        said = tomllib.load(file)["sweep"]
    # The same key and the same spec are the same sweep, however often this is called.
    number = trainyard("submit", SPEC, "--key", f"optuna-{args.study}")["sweep"]["id"]
    study = optuna.create_study(
        study_name=args.study,
        storage=f"sqlite:///{args.study}.db",
        direction=said["objective"]["goal"],
        load_if_exists=True,
    )
    is_open = trainyard("sweep", "ask", str(number), "--limit", "1")["open"]
    if not is_open and len(study.trials) < args.trials:
        sys.exit(f"drive.py: sweep {number} is closed and takes no more trials; another `--study` is another sweep")
    drive(study, number, search_space(said["parameters"]), args)
    if args.close:
        trainyard("sweep", "tell", str(number), "--close")
    completed = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    print(f"sweep {number}: {len(study.trials)} trials, {len(completed)} completed")
    if completed:
        best = study.best_trial
        print(f"best: trial {best.number} with {best.value:.4g}: {json.dumps(best.params)}")
    return 0 if completed else 1


def drive(study, number, space, args):
    for trial in running(study):
        # Whoever proposed it may not have come to tell the sweep. One that it knows is told once more, which changes nothing.
        if set(trial.params) == set(space):
            tell(number, trial)
        else:
            study.tell(trial.number, state=TrialState.FAIL)
    after = 0
    while True:
        while len(study.trials) < args.trials and len(running(study)) < args.at_a_time:
            tell(number, study.ask(space))
        if not running(study):
            return
        answer = trainyard("sweep", "ask", str(number), "--after", str(after), "--wait")
        after = answer["after"]
        for result in answer["results"]:
            learn(study, result)


def running(study):
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))


def tell(number, trial):
    trainyard("sweep", "tell", str(number), json.dumps(trial.params), "--key", f"trial-{trial.number}")


def learn(study, result):
    key = result["key"] or ""
    # Anybody may tell the sweep points of their own.
    if not key.startswith("trial-"):
        return
    trial = int(key.removeprefix("trial-"))
    # A point that failed, or was cancelled, says nothing of its parameters.
    if result["state"] == "completed" and result["best"] is not None:
        study.tell(trial, result["best"], skip_if_finished=True)
    else:
        study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
    print(f"point {result['point']} {result['state']}: {result['best']}", flush=True)


def search_space(parameters):
    """Optuna's words for what `[sweep.parameters]` declares."""
    kinds = {
        "uniform": lambda low, high: FloatDistribution(low, high),
        "log_uniform": lambda low, high: FloatDistribution(low, high, log=True),
        "integer": lambda low, high: IntDistribution(low, high),
    }
    space = {}
    for key, values in parameters.items():
        if isinstance(values, list):
            space[key] = CategoricalDistribution(values)
        else:
            kind = next(kind for kind in kinds if kind in values)
            space[key] = kinds[kind](*values[kind])
    return space


def trainyard(*words):
    """What the command prints, which is JSON; one that is refused ends this program with what it said."""
    done = subprocess.run(["trainyard", "--json", *words], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"drive.py: `trainyard {words[0]}` ended with {done.returncode}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sys.exit(main())
