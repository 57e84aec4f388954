"""python3 -m fake DIR [--seed S] [--storm] [--no-accounting]: a fake Slurm by hand, from tests/faults. Ctrl-C ends it."""

import argparse
import random
import signal

from fake.server import FakeSlurm
from fake.weather import storm


def main():
    parser = argparse.ArgumentParser(prog="python3 -m fake", description=__doc__)
    parser.add_argument("dir", metavar="DIR", help="where it lies; its commands are in DIR/bin")
    parser.add_argument("--seed", default="1", help="what it does is drawn from this")
    parser.add_argument("--storm", action="store_true", help="half of the calls go wrong")
    parser.add_argument("--no-accounting", action="store_true")
    arguments = parser.parse_args()
    slurm = FakeSlurm(arguments.dir, arguments.seed, accounting=not arguments.no_accounting)
    if arguments.storm:
        slurm.weather.set(storm(random.Random(arguments.seed)))
    print(f"its commands are in {slurm.commands}; Ctrl-C ends it", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        slurm.close()


if __name__ == "__main__":
    main()
