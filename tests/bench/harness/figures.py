"""Figures: what is measured becomes rows of a table, each with its bar."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table. `ratio` is ours through theirs within this run; `held` is None where there is no bar."""

    what: str
    ours: str
    against: str = "—"
    ratio: float | None = None
    bar: str = "—"
    held: bool | None = None
    aim: str = ""

    def verdict(self) -> str:
        if self.held is None:
            return "—"
        return "held" if self.held else "**missed**"

    def cells(self) -> list[str]:
        ratio = "—" if self.ratio is None else f"{self.ratio:.3f}" if self.ratio < 0.1 else f"{self.ratio:.2f}"
        bar = f"{self.bar} (aim {self.aim})" if self.aim else self.bar
        return [self.what, self.ours, self.against, ratio, bar, self.verdict()]


def at_most(what: str, ours: float, bar: float, unit: str, *, against: str = "—") -> Row:
    """A figure with an absolute bar. `unit` is written behind both."""
    return Row(what, f"{number(ours)} {unit}", against, None, f"≤ {number(bar)} {unit}", ours <= bar)


def ratio(
    what: str, ours: float, theirs: float, name: str, *, unit: str, bar: float | None = None, aim: float | None = None
) -> Row:
    """A figure beside another of the same run."""
    of = ours / theirs if theirs else math.inf
    return Row(
        what,
        f"{number(ours)} {unit}",
        f"{name}: {number(theirs)} {unit}",
        of,
        "—" if bar is None else f"≤ {number(bar)} ×",
        None if bar is None else of <= bar,
        "" if aim is None else f"{number(aim)} ×",
    )


def number(value: float) -> str:
    """Three digits that mean something, and no more."""
    if value and abs(value) < 0.01:
        return f"{value:.4f}".rstrip("0")
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def milliseconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return (time.perf_counter() - started) * 1000


def interleaved(rounds: int, actions: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Milliseconds of each action in each round. The actions take turns, every other round backwards, so that whatever
    else the machine does hits all of them alike. The first round warms caches and does not count."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(rounds + 1):
        order = list(actions.items())
        for name, action in order if index % 2 else reversed(order):
            took = milliseconds(action)
            if index:
                times[name].append(took)
    return times


def wait_until(what: str, condition: Callable[[], object], seconds: float = 120, every: float = 0.05) -> float:
    """Waits for a condition and gives how long that took."""
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"in vain for {seconds:.0f} s: {what}")
        time.sleep(every)
    return time.monotonic() - started
