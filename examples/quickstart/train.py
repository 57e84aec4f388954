#!/usr/bin/env python3
"""Fits a small neural network to two interleaved spirals, in plain Python.

It is small, but it does all that a training script has to do to get on well with Trainyard:

  - it writes one JSON line of metrics per epoch to $TRAINYARD_METRICS_PATH;
  - it saves checkpoints to $TRAINYARD_CHECKPOINT_DIR, each complete or not there at all;
  - it goes on from $TRAINYARD_RESUME_FROM, and a resumed run ends with the very same numbers;
  - it saves and leaves with exit code 75 ("bring me back") once $TRAINYARD_STOP_FILE appears;
  - it leaves its result in $TRAINYARD_OUTPUT_PATH.

It runs without Trainyard too (`python3 train.py`): then everything goes to ./by-hand/.
"""

import argparse
import json
import math
import os
import random
import sys
import time
from pathlib import Path

EXIT_SAVED_BRING_ME_BACK = 75


def main():
    args = parse_arguments()
    paths = Paths()
    train_points, test_points = make_data(args.points, args.seed)

    model = Model.new(args.hidden, args.seed)
    first_epoch, step = 1, 0
    if paths.resume_from is not None:
        saved = json.loads(paths.resume_from.read_text())
        model, first_epoch, step = Model(saved["model"]), saved["epoch"] + 1, saved["step"]
        print(f"resumed from {paths.resume_from} after epoch {saved['epoch']}")

    print(f"{len(train_points)} points to learn from, {len(test_points)} to test on, {args.hidden} hidden units")
    started = time.monotonic()
    with open(paths.metrics, "a", encoding="utf-8") as metrics:
        for epoch in range(first_epoch, args.epochs + 1):
            learning_rate = args.learning_rate * 0.5 * (1 + math.cos(math.pi * (epoch - 1) / args.epochs))
            loss, steps = run_epoch(model, train_points, learning_rate, args, epoch)
            step += steps
            accuracy = model.accuracy(test_points)

            write_metrics(metrics, step, epoch, args.epochs, loss, accuracy, learning_rate)
            print(f"epoch {epoch:3d}/{args.epochs}  step {step:5d}  loss {loss:.4f}  accuracy {accuracy:6.1%}")

            stop = paths.stop_file is not None and paths.stop_file.exists()
            if stop or epoch % args.checkpoint_every == 0 or epoch == args.epochs:
                save_checkpoint(paths.checkpoints, model, epoch, step)
            if stop and epoch < args.epochs:
                print("asked to stop: the state is saved, bring me back")
                return EXIT_SAVED_BRING_ME_BACK

    accuracy = model.accuracy(test_points)
    write_whole(paths.output / "model.json", {"accuracy": accuracy, "hidden": args.hidden, "model": model.parameters})
    print(f"done in {time.monotonic() - started:.1f} s: accuracy {accuracy:.1%}, model in {paths.output / 'model.json'}")
    return 0


def parse_arguments():
    # Trainyard hands over `[args]` as they are written there, so `learning_rate = 0.3` comes as `--learning_rate 0.3`.
    parser = argparse.ArgumentParser(description="Fits a small neural network to two spirals.")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--learning_rate", type=float, default=0.3)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--hidden", type=int, default=32, help="units in the hidden layer")
    parser.add_argument("--points", type=int, default=12_000, help="points in the made-up data set")
    parser.add_argument("--checkpoint_every", type=int, default=10, help="epochs between two checkpoints")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    for name in ("epochs", "batch_size", "hidden", "points", "checkpoint_every"):
        if getattr(args, name) < 1:
            parser.error(f"--{name} must be 1 or more")
    return args


class Paths:
    """Where things are, from the environment that Trainyard makes; made if they are not there."""

    def __init__(self):
        by_hand = Path("by-hand")
        self.metrics = path_from("TRAINYARD_METRICS_PATH") or by_hand / "metrics.jsonl"
        self.checkpoints = path_from("TRAINYARD_CHECKPOINT_DIR") or by_hand / "checkpoints"
        self.output = path_from("TRAINYARD_OUTPUT_PATH") or by_hand / "output"
        self.resume_from = path_from("TRAINYARD_RESUME_FROM")
        self.stop_file = path_from("TRAINYARD_STOP_FILE")
        for directory in (self.metrics.parent, self.checkpoints, self.output):
            directory.mkdir(parents=True, exist_ok=True)


def path_from(variable):
    """A variable that is empty says the same as one that is not set: there is none."""
    value = os.environ.get(variable, "")
    return Path(value) if value else None


def make_data(count, seed):
    """Two spirals, one for each class, with some noise: (x, y, class). The same seed makes the same points."""
    dice = random.Random(f"data {seed}")
    points = []
    for index in range(count):
        label = index % 2
        angle = 0.25 + 12.0 * math.sqrt(dice.random())  # nearly two turns; the root makes them equally dense all along
        radius = angle / 2
        x = radius * math.cos(angle + label * math.pi) + dice.gauss(0, 0.15)
        y = radius * math.sin(angle + label * math.pi) + dice.gauss(0, 0.15)
        points.append((x, y, label))
    cut = count * 5 // 6
    return points[:cut], points[cut:] or points[:cut]


class Model:
    """Two inputs, one hidden layer with tanh, one output: the probability of class 1."""

    def __init__(self, parameters):
        # A list of [weight of x, weight of y, bias, weight of the output] for each hidden unit, and the output's bias.
        self.parameters = parameters

    @classmethod
    def new(cls, hidden, seed):
        dice = random.Random(f"model {seed}")
        units = [[dice.gauss(0, 1.0), dice.gauss(0, 1.0), dice.gauss(0, 0.5), dice.gauss(0, 0.3)] for _ in range(hidden)]
        return cls({"units": units, "bias": 0.0})

    def predict(self, x, y):
        total = self.parameters["bias"]
        activations = []
        for wx, wy, b, out in self.parameters["units"]:
            activation = math.tanh(wx * x + wy * y + b)
            activations.append(activation)
            total += out * activation
        total = max(-30.0, min(30.0, total))  # beyond that exp() says nothing new, and may overflow
        return 1.0 / (1.0 + math.exp(-total)), activations

    def accuracy(self, points):
        return sum((self.predict(x, y)[0] > 0.5) == (label == 1) for x, y, label in points) / len(points)

    def learn(self, batch, learning_rate):
        """One step of gradient descent on the mean cross-entropy of the batch; returns its sum before the step."""
        units = self.parameters["units"]
        gradients = [[0.0, 0.0, 0.0, 0.0] for _ in units]
        bias_gradient = loss = 0.0
        for x, y, label in batch:
            probability, activations = self.predict(x, y)
            loss -= math.log(max(1e-12, probability if label else 1.0 - probability))
            error = probability - label
            bias_gradient += error
            for unit, gradient, activation in zip(units, gradients, activations):
                back = error * unit[3] * (1.0 - activation * activation)
                gradient[0] += back * x
                gradient[1] += back * y
                gradient[2] += back
                gradient[3] += error * activation
        rate = learning_rate / len(batch)
        self.parameters["bias"] -= rate * bias_gradient
        for unit, gradient in zip(units, gradients):
            for index in range(4):
                unit[index] -= rate * gradient[index]
        return loss


def run_epoch(model, points, learning_rate, args, epoch):
    """Goes once through all points; returns the mean loss and the number of steps."""
    order = list(points)
    # The order depends on seed and epoch alone: a resumed run sees the points in the order it would have seen.
    random.Random(f"epoch {epoch} {args.seed}").shuffle(order)
    loss, steps = 0.0, 0
    for start in range(0, len(order), args.batch_size):
        loss += model.learn(order[start : start + args.batch_size], learning_rate)
        steps += 1
    return loss / len(order), steps


def write_metrics(file, step, epoch, epochs, loss, accuracy, learning_rate):
    line = {
        "step": step,
        "epoch": epoch,
        "epochs": epochs,
        "loss": round(loss, 6),
        "accuracy": round(accuracy, 6),
        "learning_rate": round(learning_rate, 6),
    }
    file.write(json.dumps(line) + "\n")
    file.flush()  # a whole line at once, so that whoever reads along sees it now


def save_checkpoint(directory, model, epoch, step):
    path = directory / f"step-{step:08d}.json"
    write_whole(path, {"step": step, "epoch": epoch, "model": model.parameters})
    print(f"saved {path.name}")


def write_whole(path, content):
    """Writes a file that is there whole or not at all, even if the machine dies meanwhile."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


if __name__ == "__main__":
    sys.exit(main())
