"""How a fake Slurm misbehaves: what each call of each command gets, drawn from a seed.

A plan is a list of words for each command, taken one for each call; behind its end the weather is fine. It lies as
weather.json in the cluster's folder. A word is a name of the tables in mishaps.py, or `fine`.
"""

import json
import threading

from fake.mishaps import TABLES

# Of this many calls of squeue in a row one is honest, so that no lie outlives a grace.
HONEST_EVERY = 4
LENGTH = 400


def fine():
    return {}


def storm(random, badness=0.6, without=()):
    """A plan in which so many of the calls go wrong."""
    plan = {}
    for command, table in TABLES.items():
        words = sorted(name for name, mishap in table.items() if not mishap.is_slow and name not in without)
        plan[command] = [random.choice(words) if random.random() < badness else "fine" for _ in range(LENGTH)]
    squeue = plan["squeue"]
    for start in range(0, LENGTH, HONEST_EVERY):
        squeue[start + random.randrange(min(HONEST_EVERY, LENGTH - start))] = "fine"
    return plan


class Weather:
    """What is planned, and what came of it so far."""

    def __init__(self, file):
        self.file, self.lock = file, threading.Lock()
        self.told = {}
        self.set(fine())

    def set(self, plan):
        """From here on calls go by this plan."""
        unknown = {word for command, words in plan.items() for word in words if word != "fine" and word not in TABLES[command]}
        if unknown:
            raise ValueError(f"no such mishap: {', '.join(sorted(unknown))}")
        with self.lock:
            self.plan = {command: list(words) for command, words in plan.items()}
            self.always = {}
            self.file.write_text(json.dumps(self.plan) + "\n")

    def keep(self, command, word):
        """Every call of a command goes like this, until the weather is set again."""
        if word != "fine" and word not in TABLES[command]:
            raise ValueError(f"no such mishap: {word}")
        with self.lock:
            self.always[command] = word

    def clear(self):
        self.set(fine())

    def next(self, command):
        """What the next call of a command gets."""
        with self.lock:
            planned = self.plan.get(command)
            word = planned.pop(0) if planned else "fine"
            word = self.always.get(command, word)
            counted = self.told.setdefault(command, {})
            counted[word] = counted.get(word, 0) + 1
        return word

    def counted(self, command, word):
        """How many calls of a command went like this."""
        with self.lock:
            return self.told.get(command, {}).get(word, 0)

    def bad(self):
        """How many calls went wrong."""
        with self.lock:
            return sum(count for words in self.told.values() for word, count in words.items() if word != "fine")
