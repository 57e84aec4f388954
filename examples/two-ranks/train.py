#!/usr/bin/env python3
"""Fits a line through points that no single rank has all of: data-parallel training without any package.

Each rank holds its own share of the data and computes the gradient of its share. An all-reduce over TCP adds the
gradients of all ranks, so that every rank takes the same step: what PyTorch's DistributedDataParallel does, in the
small. It shows what matters when several processes make one run:

  - the ranks find each other by RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT;
  - only rank 0 writes metrics, checkpoints and the result;
  - the ranks decide together whether to stop, or one would wait for ever for another that has left;
  - a rank that dies takes the others with it: the closed connection is an error, not silence.
"""

import argparse
import json
import os
import random
import socket
import sys
import time
from pathlib import Path

EXIT_SAVED_BRING_ME_BACK = 75
MEETING_SECONDS_MAX = 60  # ranks may start far apart from each other
ANSWER_SECONDS_MAX = 60
TRUTH = [1.5, -2.0, 0.5]  # what the training should find: weights of two inputs, and the bias


def main():
    args = parse_arguments()
    rank, world_size = int(setting("RANK")), int(setting("WORLD_SIZE"))
    address = setting("MASTER_ADDR"), int(setting("MASTER_PORT"))

    with World(rank, world_size, address) as world:
        check_the_sum(world)
        # Every rank makes all of the data and keeps its share: rank, rank + world_size, rank + 2 * world_size, …
        share = make_data(args.points, args.seed)[rank::world_size]
        print(f"rank {rank} of {world_size} is here with {len(share)} of {args.points} points", flush=True)
        return train(world, share, args)


def train(world, share, args):
    weights, first_epoch = resume(world)
    points_total = int(world.all_reduce([len(share)])[0])
    for epoch in range(first_epoch, args.epochs + 1):
        gradient, loss = gradient_of(weights, share)
        *gradient, loss = [value / points_total for value in world.all_reduce([*gradient, loss])]
        weights = [weight - args.learning_rate * slope for weight, slope in zip(weights, gradient)]

        # Every rank must come to the same answer, so it is asked of all: any rank that sees the file stops them all.
        stop = world.all_reduce([float(stop_file_exists())])[0] > 0
        last = epoch == args.epochs
        if world.rank == 0:
            write_metrics(epoch, args, loss)
            if stop or last or epoch % args.checkpoint_every == 0:
                save_checkpoint(weights, epoch)
        if epoch % 10 == 0 or last:
            say(world, f"epoch {epoch:3d}/{args.epochs}  loss {loss:.5f}  weights {rounded(weights)}")
        if stop and not last:
            say(world, "asked to stop: the state is saved, bring me back")
            return EXIT_SAVED_BRING_ME_BACK
        time.sleep(args.pause)

    if world.rank == 0:
        write_whole(directory("TRAINYARD_OUTPUT_PATH") / "model.json", {"weights": weights, "truth": TRUTH})
    say(world, f"done: weights {rounded(weights)}, the truth is {TRUTH}")
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description="Fits a linear model with several ranks.")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--learning_rate", type=float, default=0.1)
    parser.add_argument("--points", type=int, default=5000, help="points in the made-up data set, of all ranks")
    parser.add_argument("--checkpoint_every", type=int, default=20, help="epochs between two checkpoints")
    parser.add_argument("--pause", type=float, default=0.02, help="seconds between epochs, so that there is time to look")
    parser.add_argument("--seed", type=int, default=11)
    return parser.parse_args()


def setting(variable):
    """A value that Trainyard sets for every process of a run."""
    if variable not in os.environ:
        sys.exit(f"{variable} is not set: start this with `trainyard submit run.toml`")
    return os.environ[variable]


# --- The model --------------------------------------------------------------------------------------------------


def make_data(count, seed):
    dice = random.Random(seed)
    points = []
    for _ in range(count):
        x1, x2 = dice.gauss(0, 1), dice.gauss(0, 1)
        points.append((x1, x2, TRUTH[0] * x1 + TRUTH[1] * x2 + TRUTH[2] + dice.gauss(0, 0.1)))
    return points


def gradient_of(weights, points):
    """Sums, not means, of the gradient and of the squared error: sums of shares add up to the sum of the whole."""
    gradient, loss = [0.0, 0.0, 0.0], 0.0
    w1, w2, bias = weights
    for x1, x2, y in points:
        error = w1 * x1 + w2 * x2 + bias - y
        loss += error * error
        gradient[0] += 2 * error * x1
        gradient[1] += 2 * error * x2
        gradient[2] += 2 * error
    return gradient, loss


# --- The ranks together -----------------------------------------------------------------------------------------


class World:
    """All ranks, joined in a star around rank 0. Numbers travel as one line of JSON, which keeps floats exact."""

    def __init__(self, rank, size, address):
        self.rank, self.size = rank, size
        # Rank 0: a reader and a writer for each other rank, in the order of ranks. Elsewhere: those for rank 0.
        self.links = self.welcome(address) if rank == 0 else [self.join(address)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for link in self.links:
            link.close()

    def welcome(self, address):
        if self.size == 1:
            return []
        links = {}
        deadline = time.monotonic() + MEETING_SECONDS_MAX
        with socket.create_server(address, backlog=self.size) as server:
            while len(links) < self.size - 1:
                server.settimeout(max(0.01, deadline - time.monotonic()))
                link = Link(server.accept()[0])
                try:
                    rank = int(link.receive()[0])
                except (OSError, ValueError, IndexError, TypeError):
                    rank = None
                if rank in range(1, self.size) and rank not in links:
                    links[rank] = link
                else:
                    link.close()  # not one of us: something else knocked at this port
        return [links[rank] for rank in sorted(links)]

    def join(self, address):
        deadline = time.monotonic() + MEETING_SECONDS_MAX
        while True:
            try:
                link = Link(socket.create_connection(address, timeout=5))
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)  # rank 0 does not listen yet
        link.send([self.rank])
        return link

    def all_reduce(self, numbers):
        """Adds up the lists of all ranks, number by number; every rank gets the same sums."""
        if self.rank != 0:
            self.links[0].send(numbers)
            return self.links[0].receive()
        # Always added in the order of ranks: another order would round differently, and no two runs would agree.
        sums = list(numbers)
        for link in self.links:
            sums = [one + other for one, other in zip(sums, link.receive())]
        for link in self.links:
            link.send(sums)
        return sums


class Link:
    def __init__(self, connection):
        connection.settimeout(ANSWER_SECONDS_MAX)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self.reader = connection.makefile("r", encoding="ascii")

    def send(self, numbers):
        self.connection.sendall((json.dumps(numbers) + "\n").encode("ascii"))

    def receive(self):
        line = self.reader.readline(65536)
        if not line.endswith("\n"):
            raise ConnectionError("another rank has left")
        return json.loads(line)

    def close(self):
        self.reader.close()
        self.connection.close()


def check_the_sum(world):
    expected = world.size * (world.size - 1) // 2
    total = world.all_reduce([world.rank])[0]
    if total != expected:
        sys.exit(f"the ranks add up to {total}, not to {expected}: they do not form one world")
    say(world, f"the ranks 0 to {world.size - 1} add up to {total}: all are here, and they hear each other")


# --- Files ------------------------------------------------------------------------------------------------------


def resume(world):
    """Rank 0 reads the checkpoint and tells the others, who add nothing to it: they need no view of its file."""
    state = [0.0, 0.0, 0.0, 0.0]
    path = os.environ.get("TRAINYARD_RESUME_FROM", "")
    if world.rank == 0 and path:
        saved = json.loads(Path(path).read_text())
        state = [*saved["weights"], saved["epoch"]]
        print(f"resumed from {path} after epoch {saved['epoch']}")
    *weights, epoch = world.all_reduce(state)
    return weights, int(epoch) + 1


def stop_file_exists():
    path = os.environ.get("TRAINYARD_STOP_FILE", "")
    return bool(path) and os.path.exists(path)


def write_metrics(epoch, args, loss):
    line = {"step": epoch, "epoch": epoch, "epochs": args.epochs, "loss": round(loss, 8)}
    with open(setting("TRAINYARD_METRICS_PATH"), "a", encoding="utf-8") as file:
        file.write(json.dumps({**line, "learning_rate": args.learning_rate}) + "\n")


def save_checkpoint(weights, epoch):
    path = directory("TRAINYARD_CHECKPOINT_DIR") / f"step-{epoch:08d}.json"
    write_whole(path, {"step": epoch, "epoch": epoch, "weights": weights})


def directory(variable):
    path = Path(setting(variable))
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_whole(path, content):
    """Writes a file that is there whole or not at all, even if the machine dies meanwhile."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def say(world, text):
    if world.rank == 0:
        print(text, flush=True)


def rounded(weights):
    return [round(weight, 3) for weight in weights]


if __name__ == "__main__":
    sys.exit(main())
