#!/usr/bin/env python3
"""Trains a small network with PyTorch's DistributedDataParallel, on GPUs (NCCL) or on CPUs (gloo).

The data is made up; what counts is how the processes of one run behave together:

  - rank 0 alone writes metrics, checkpoints and the result;
  - a checkpoint is complete or not there at all, and holds all that is needed to go on: model, optimizer, epoch, step;
  - every rank goes on from $TRAINYARD_RESUME_FROM, which must be on a file system that all nodes see;
  - the ranks agree on whether to stop, so that none waits in an all-reduce for one that has left;
  - exit code 75 says "saved, bring me back".
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

EXIT_SAVED_BRING_ME_BACK = 75


def main():
    args = parse_arguments()
    local_rank = int(os.environ["LOCAL_RANK"])
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    dist.init_process_group(backend="nccl" if on_gpu else "gloo")
    try:
        return train(args, device)
    finally:
        dist.destroy_process_group()


def train(args, device):
    torch.manual_seed(args.seed)  # the same on every rank; DistributedDataParallel sends rank 0's weights to all anyway
    data = make_data(args.points, args.seed)
    sampler = DistributedSampler(data, seed=args.seed)
    loader = DataLoader(data, batch_size=args.batch_size, sampler=sampler)

    model = nn.Sequential(nn.Linear(2, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 1)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.learning_rate)
    first_epoch, step = resume(model, optimizer, device)
    parallel = DistributedDataParallel(model, device_ids=[device.index] if device.type == "cuda" else None)
    say(f"{dist.get_world_size()} processes on {device.type}, backend {dist.get_backend()}")

    for epoch in range(first_epoch, args.epochs + 1):
        started = time.monotonic()
        sampler.set_epoch(epoch)  # another order in every epoch, the same one after a resume
        totals = torch.zeros(3, device=device)  # sum of losses, right answers, points
        for points, labels in loader:
            points, labels = points.to(device), labels.to(device)
            optimizer.zero_grad()
            logits = parallel(points).squeeze(1)
            loss = nn.functional.binary_cross_entropy_with_logits(logits, labels)
            loss.backward()
            optimizer.step()
            step += 1
            with torch.no_grad():
                right = ((logits > 0) == (labels > 0.5)).sum()
                totals += torch.stack([loss * len(labels), right, torch.tensor(len(labels), device=device)])

        dist.all_reduce(totals)  # from every rank's share to the whole
        loss, accuracy = (totals[0] / totals[2]).item(), (totals[1] / totals[2]).item()
        stop, last = any_rank_is_asked_to_stop(device), epoch == args.epochs
        if dist.get_rank() == 0:
            seconds = time.monotonic() - started
            write_metrics(step, epoch, args, loss, accuracy, totals[2].item() / seconds)
            if stop or last or epoch % args.checkpoint_every == 0:
                save_checkpoint(model, optimizer, epoch, step)
        say(f"epoch {epoch:3d}/{args.epochs}  step {step:6d}  loss {loss:.4f}  accuracy {accuracy:6.1%}")
        if stop and not last:
            dist.barrier()  # nobody leaves before rank 0 has saved
            say("asked to stop: the state is saved, bring me back")
            return EXIT_SAVED_BRING_ME_BACK

    if dist.get_rank() == 0:
        save_whole(directory("TRAINYARD_OUTPUT_PATH") / "model.pt", model.state_dict())
    dist.barrier()
    say("done")
    return 0


def parse_arguments():
    parser = argparse.ArgumentParser(description="Trains a small network with DistributedDataParallel.")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--learning_rate", type=float, default=2e-3)
    parser.add_argument("--batch_size", type=int, default=256, help="per process")
    parser.add_argument("--points", type=int, default=131_072, help="points in the made-up data set")
    parser.add_argument("--checkpoint_every", type=int, default=5, help="epochs between two checkpoints")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def make_data(count, seed):
    """Two interleaved spirals, one for each class, with some noise. The same seed makes the same points everywhere."""
    dice = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    angle = 0.25 + 12.0 * torch.rand(count, generator=dice).sqrt()
    turned = angle + labels * torch.pi
    points = torch.stack([turned.cos(), turned.sin()], dim=1) * angle.unsqueeze(1) / 2
    points += 0.15 * torch.randn(count, 2, generator=dice)
    return TensorDataset(points, labels.float())


def resume(model, optimizer, device):
    """Loads the checkpoint, if there is one; returns the epoch to begin with and the steps already made."""
    path = os.environ.get("TRAINYARD_RESUME_FROM", "")
    if not path:
        return 1, 0
    saved = torch.load(path, map_location=device, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    say(f"resumed from {path} after epoch {saved['epoch']}")
    return saved["epoch"] + 1, saved["step"]


def any_rank_is_asked_to_stop(device):
    path = os.environ.get("TRAINYARD_STOP_FILE", "")
    asked = torch.tensor(float(bool(path) and os.path.exists(path)), device=device)
    dist.all_reduce(asked, op=dist.ReduceOp.MAX)
    return asked.item() > 0


def write_metrics(step, epoch, args, loss, accuracy, points_per_second):
    line = {
        "step": step,
        "epoch": epoch,
        "epochs": args.epochs,
        "loss": round(loss, 6),
        "accuracy": round(accuracy, 6),
        "learning_rate": args.learning_rate,
        "points_per_second": round(points_per_second, 1),
    }
    with open(os.environ["TRAINYARD_METRICS_PATH"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def save_checkpoint(model, optimizer, epoch, step):
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "step": step}
    save_whole(directory("TRAINYARD_CHECKPOINT_DIR") / f"step-{step:08d}.pt", state)


def save_whole(path, state):
    """Writes a file that is there whole or not at all, even if the node dies meanwhile."""
    temporary = path.with_name(f".{path.name}.tmp")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def directory(variable):
    path = Path(os.environ[variable])
    path.mkdir(parents=True, exist_ok=True)
    return path


def say(text):
    if dist.get_rank() == 0:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
