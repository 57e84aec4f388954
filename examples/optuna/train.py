#!/usr/bin/env python3
"""Stands for a training: goes down a curved valley by gradient descent with momentum, and reports how deep it is.

Like any other training it is given its settings as arguments, and writes a JSON line of metrics to $TRAINYARD_METRICS_PATH.
It does not know that it is a point of a sweep.
"""

import argparse
import json
import math
import os
import random


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--batches", type=int, default=1, help="more of them are less noise")
    parser.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
    args = parser.parse_args()

    dice = random.Random(7)
    x, y, speed_x, speed_y = -1.0, 1.0, 0.0, 0.0
    with open(os.environ.get("TRAINYARD_METRICS_PATH", "metrics.jsonl"), "a", encoding="utf-8") as metrics:
        for step in range(1, args.steps + 1):
            share = 1.0 if args.schedule == "constant" else 0.5 * (1 + math.cos(math.pi * step / args.steps))
            noise = dice.gauss(0, 1.0) / math.sqrt(args.batches)
            slope_x = -2 * (1 - x) - 400 * x * (y - x * x) + noise
            slope_y = 200 * (y - x * x)
            speed_x = args.momentum * speed_x - args.learning_rate * share * slope_x
            speed_y = args.momentum * speed_y - args.learning_rate * share * slope_y
            x = max(-5.0, min(5.0, x + speed_x))
            y = max(-5.0, min(5.0, y + speed_y))
            if step % 20 == 0:
                loss = (1 - x) ** 2 + 100 * (y - x * x) ** 2
                metrics.write(json.dumps({"step": step, "loss": loss}) + "\n")
                metrics.flush()


if __name__ == "__main__":
    main()
