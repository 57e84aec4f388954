#!/usr/bin/env python3
"""Trains a small network with DistributedDataParallel, and ends with the same weights however often it was interrupted.

Copy this when a run that came back must be the run that left, to the last bit. For that a checkpoint holds all that the
next step depends on:

  - the model, the optimizer and the learning rate schedule;
  - where in the data the run is: epoch, batches of it that are done, and the seed of their order;
  - the random numbers of each rank: Python's, NumPy's if it is there, torch's, and those of its GPU.

It is complete or not there at all: it is written under another name, brought to the disk, and renamed. With
`--format dcp` every rank writes its share by torch.distributed.checkpoint, else rank 0 writes one file.

Equal to the last bit needs equal surroundings too: as many ranks, the same PyTorch, the same kind of processor or GPU.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, Subset, TensorDataset

try:
    import numpy
except ImportError:
    numpy = None

EXIT_SAVED_BRING_ME_BACK = 75


def main():
    args = parse_arguments()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    torch.use_deterministic_algorithms(True)
    dist.init_process_group(backend="nccl" if on_gpu else "gloo")
    code = train(args, device)
    # Not after an exception: the others may be waiting for this rank, and torchrun ends them.
    dist.destroy_process_group()
    return code


def train(args, device):
    run = Run(args, device)
    warm_up(run)
    resume(run)
    say(f"{dist.get_world_size()} ranks on {device.type}, from step {run.step} on")
    for epoch in range(run.epoch, args.epochs + 1):
        run.epoch = epoch
        for points, labels in rest_of_epoch(run):
            loss = learn(run, points.to(device), labels.to(device))
            run.step, run.batch = run.step + 1, run.batch + 1
            # What the ranks tell each other: the mean loss, and whether any of them has seen the stop file.
            told = torch.tensor([loss, float(stop_file_exists())], device=device)
            dist.all_reduce(told)
            write_metrics(run, told[0].item() / dist.get_world_size())
            stop = told[1].item() > 0
            if stop or run.step % args.checkpoint_every == 0:
                save(run)
            if stop:
                say("asked to stop: the state is saved, bring me back")
                return EXIT_SAVED_BRING_ME_BACK
            time.sleep(args.pause)
        run.batch = 0
    if dist.get_rank() == 0:
        finish(run)
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description="Trains a small network that can be interrupted at any step.")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--batch_size", type=int, default=64, help="per rank")
    parser.add_argument("--points", type=int, default=4096, help="points in the made-up data set")
    parser.add_argument("--checkpoint_every", type=int, default=5, help="steps between two checkpoints")
    parser.add_argument("--format", choices=["file", "dcp"], default="file", help="of the checkpoints")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between steps, so that there is time to look")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


class Run:
    """All that the next step depends on, but for the random numbers."""

    def __init__(self, args, device):
        self.args, self.device = args, device
        torch.manual_seed(args.seed)  # the same first weights on every rank
        self.data = make_data(args.points, args.seed)
        self.sampler = DistributedSampler(self.data, seed=args.seed)
        model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Dropout(0.1), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1))
        self.model = DistributedDataParallel(
            model.to(device), device_ids=[device.index] if device.type == "cuda" else None
        )
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=args.learning_rate)
        steps = args.epochs * -(-len(self.sampler) // args.batch_size)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, steps)
        self.epoch, self.batch, self.step = 1, 0, 0
        # From here on each rank has random numbers of its own.
        random.seed(args.seed + dist.get_rank())
        torch.manual_seed(args.seed + dist.get_rank())
        if numpy is not None:
            numpy.random.seed(args.seed + dist.get_rank())


def make_data(count, seed):
    """Two interleaved spirals, one for each class, with some noise. The same seed makes the same points everywhere."""
    dice = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    angle = 0.25 + 12.0 * torch.rand(count, generator=dice).sqrt()
    turned = angle + labels * torch.pi
    points = torch.stack([turned.cos(), turned.sin()], dim=1) * angle.unsqueeze(1) / 2
    points += 0.15 * torch.randn(count, 2, generator=dice)
    return TensorDataset(points, labels.float())


def rest_of_epoch(run):
    """The batches of this rank that are still to come. Their order follows from seed and epoch alone."""
    run.sampler.set_epoch(run.epoch)
    rest = list(run.sampler)[run.batch * run.args.batch_size :]
    # With a generator of its own the loader takes no random number from the training.
    return DataLoader(Subset(run.data, rest), batch_size=run.args.batch_size, generator=torch.Generator())


def learn(run, points, labels):
    points = points * random.uniform(0.95, 1.05)  # augmentation
    run.optimizer.zero_grad()
    loss = nn.functional.binary_cross_entropy_with_logits(run.model(points).squeeze(1), labels)
    loss.backward()
    run.optimizer.step()
    run.schedule.step()
    return loss.item()


def warm_up(run):
    """One pass whose result is thrown away. DistributedDataParallel puts its gradients into another order after the first
    one, and so adds them up in another: without this the first step after a resume would round differently."""
    before = random_numbers()
    run.model(torch.zeros(1, 2, device=run.device)).sum().backward()
    run.optimizer.zero_grad()
    set_random_numbers(before)


# --- What is saved ----------------------------------------------------------------------------------------------


def state_of(run):
    model, optimizer = get_state_dict(run.model, run.optimizer)
    everyones = [None] * dist.get_world_size()
    dist.all_gather_object(everyones, random_numbers())
    return {
        "model": model,
        "optimizer": optimizer,
        "schedule": run.schedule.state_dict(),
        "position": {"epoch": run.epoch, "batch": run.batch, "step": run.step, "seed": run.args.seed},
        "random": {f"rank {rank}": numbers for rank, numbers in enumerate(everyones)},
    }


def resume(run):
    path = os.environ.get("TRAINYARD_RESUME_FROM", "")
    if not path:
        return
    if Path(path).is_dir():
        state = state_of(run)  # which is filled from the checkpoint
        dcp.load(state, checkpoint_id=path)
    else:
        state = torch.load(path, map_location=run.device, weights_only=True)
    position = state["position"]
    if position["seed"] != run.args.seed or len(state["random"]) != dist.get_world_size():
        sys.exit(f"{path} is of another seed or another number of ranks: this would be another run")
    set_state_dict(run.model, run.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    run.schedule.load_state_dict(state["schedule"])
    run.epoch, run.batch, run.step = position["epoch"], position["batch"], position["step"]
    set_random_numbers(state["random"][f"rank {dist.get_rank()}"])
    say(f"resumed from {path}")


def random_numbers():
    """The state of this rank's generators, in plain types."""
    version, numbers, cached = random.getstate()
    state = {"python": json.dumps([version, numbers, cached]), "torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    if numpy is not None:
        name, keys, *rest = numpy.random.get_state()
        state["numpy"] = json.dumps([name, keys.tolist(), *rest])
    return state


def set_random_numbers(state):
    version, numbers, cached = json.loads(state["python"])
    random.setstate((version, tuple(numbers), cached))
    torch.set_rng_state(state["torch"].cpu())
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu())
    if "numpy" in state:
        numpy.random.set_state(json.loads(state["numpy"]))


def save(run):
    path = directory("TRAINYARD_CHECKPOINT_DIR") / f"step-{run.step:08d}"
    state = state_of(run)
    if run.args.format == "dcp":
        save_shares(state, path)
    elif dist.get_rank() == 0:
        save_whole(state, path.with_suffix(".pt"))
    say(f"saved {path.name}")


def save_shares(state, path):
    temporary = path.with_suffix(".tmp")
    if dist.get_rank() == 0:
        shutil.rmtree(temporary, ignore_errors=True)  # what an interrupted save left
    dist.barrier()
    dcp.save(state, checkpoint_id=temporary)  # brings its files to the disk
    if dist.get_rank() == 0:
        shutil.rmtree(path, ignore_errors=True)  # of an earlier start, which came further than what this one resumed from
        os.rename(temporary, path)
        sync(path.parent)
    dist.barrier()


def save_whole(state, path):
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(state, temporary)
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def sync(path):
    """Waits until a file, or the names in a directory, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def finish(run):
    weights = run.model.module.state_dict()
    output = directory("TRAINYARD_OUTPUT_PATH")
    save_whole(weights, output / "model.pt")
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode() + bytes(tensor.cpu().flatten().view(torch.uint8).tolist()))
    (output / "weights.sha256").write_text(digest.hexdigest() + "\n", encoding="ascii")
    say(f"done after {run.step} steps: weights {digest.hexdigest()[:16]}")


# --- Where things are -------------------------------------------------------------------------------------------


def directory(variable):
    path = Path(os.environ.get(variable) or f"by-hand/{variable.lower()}")
    path.mkdir(parents=True, exist_ok=True)
    return path


def stop_file_exists():
    path = os.environ.get("TRAINYARD_STOP_FILE", "")
    return bool(path) and os.path.exists(path)


def write_metrics(run, loss):
    if dist.get_rank() == 0:
        line = {"step": run.step, "epoch": run.epoch, "loss": loss, "learning_rate": run.schedule.get_last_lr()[0]}
        path = os.environ.get("TRAINYARD_METRICS_PATH") or "metrics.jsonl"
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def say(text):
    if dist.get_rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
