"""Trainings that fail, one by its name: `train.py NAME`. `record` runs them and keeps what they print."""

import argparse
import ctypes
import datetime
import logging
import os
import resource
import signal
import sys
import time


class DataError(ValueError):
    """An exception of the training's own."""


def exception():
    def load(batch):
        if batch == 17:
            raise DataError(f"batch {batch} has 3 channels, the model wants 4")

    for batch in range(100):
        load(batch)


def chained():
    try:
        {}["learning_rate"]
    except KeyError as error:
        raise RuntimeError("the config has no learning rate") from error


def handled():
    """An exception that was logged and survived, long before the one that ends it."""
    try:
        raise ConnectionError("the metrics server is away")
    except ConnectionError:
        logging.exception("metrics are not sent")
    for step in range(500):
        print(f"step {step} loss {1 / (step + 1):.4f}", file=sys.stderr)
    exception()


def assertion():
    world = 3
    assert world % 2 == 0, "the batch size is no multiple of the world size"


def missing_module():
    import flash_attn_that_is_not_installed  # noqa: F401


def missing_name():
    from collections import NoSuchName  # noqa: F401


def missing_library():
    ctypes.CDLL("libnvinfer.so.10")


def missing_file():
    with open("/data/folding/v12/train.bin", "rb") as data:
        data.read()


def permission():
    open("/root/weights.bin", "rb").read()


def disk_full():
    with open("/dev/full", "wb") as checkpoint:
        checkpoint.write(b"0" * 1_000_000)


def torch_disk_full():
    """In a directory of a file system that is full: `small`, made by `record`."""
    import torch

    torch.save({"weights": torch.zeros(1_000_000)}, "small/step-10.pt")


def text_disk_full():
    with open("small/metrics.jsonl", "w") as metrics:
        for step in range(200_000):
            metrics.write(f'{{"step": {step}}}\n')


def memory_error():
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    bytearray(8 << 30)


def array_memory():
    import numpy

    numpy.zeros((1 << 40,))


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float)
    parser.parse_args(["--lr", "0.1"])


def segfault():
    import faulthandler

    faulthandler.enable()
    ctypes.string_at(0)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def bad_exit():
    print("checkpoint is from another model")
    sys.exit(3)


def progress():
    for done in range(0, 101, 20):
        print(f"\r{done:3}%|{'#' * (done // 10):10}|", end="", file=sys.stderr)
    missing_file()


def torch_cpu_memory():
    import torch

    torch.zeros(1 << 46)


def torch_no_gpu():
    import torch

    torch.zeros(1).cuda()


def torch_shapes():
    import torch

    torch.nn.Linear(4, 2)(torch.zeros(3, 5))


def torch_state_dict():
    import torch

    saved = torch.nn.Linear(4, 2).state_dict()
    torch.nn.Linear(8, 2).load_state_dict(saved)


def torch_half_checkpoint():
    import torch

    torch.save({"weights": torch.zeros(1000)}, "last.pt")
    with open("last.pt", "r+b") as half:
        half.truncate(2000)
    torch.load("last.pt")


class Faulty:
    """A dataset with a sample that cannot be read."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            raise DataError("sample 5 has no label")
        return index


def torch_worker_exception():
    import torch.utils.data

    for _ in torch.utils.data.DataLoader(Faulty(), num_workers=2):
        pass


class Signalled:
    """A dataset whose worker is killed."""

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return 8

    def __getitem__(self, index):
        os.kill(os.getpid(), self.number)
        time.sleep(60)


def torch_worker(number):
    import torch.utils.data

    for _ in torch.utils.data.DataLoader(Signalled(number), num_workers=1):
        pass


def torch_port_taken():
    import torch.distributed as dist

    first = dist.TCPStore("127.0.0.1", 29517, 1, True)
    dist.TCPStore("127.0.0.1", 29517, 1, True)
    del first


def torch_no_rendezvous():
    import torch.distributed as dist

    dist.TCPStore("127.0.0.1", 9, 2, False, timeout=datetime.timedelta(seconds=2))


def group(seconds):
    import torch.distributed as dist

    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=seconds))
    return dist.get_rank()


def ranks_exception():
    import torch
    import torch.distributed as dist

    if group(60) == 1:
        raise DataError("shard 1 is empty")
    dist.all_reduce(torch.zeros(1))


def ranks_timeout():
    import torch
    import torch.distributed as dist

    if group(3) == 1:
        time.sleep(10)
    dist.all_reduce(torch.zeros(1))


def ranks_alone():
    """Ranks that never made a process group, so that nothing names their lines."""
    time.sleep(0.5)
    if os.environ["RANK"] == "1":
        missing_file()
    time.sleep(60)


def ranks_segfault():
    if group(60) == 1:
        ctypes.string_at(0)
    time.sleep(60)


def ranks_left():
    """One leaves without a word while the other waits for it."""
    import torch
    import torch.distributed as dist

    if group(60) == 1:
        time.sleep(1)
        os._exit(7)
    dist.all_reduce(torch.zeros(1))
    time.sleep(60)


def ranks_killed():
    import torch
    import torch.distributed as dist

    if group(60) == 1:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.zeros(1))
    time.sleep(60)


def ranks_recorded():
    """As `ranks_exception`, and torchrun is told what the exception was."""
    from torch.distributed.elastic.multiprocessing.errors import record

    record(ranks_exception)()


FAILURES = {
    name: thing for name, thing in globals().items() if callable(thing) and name[0].islower()
}
FAILURES["torch_worker_killed"] = lambda: torch_worker(signal.SIGKILL)
FAILURES["torch_worker_bus"] = lambda: torch_worker(signal.SIGBUS)

if __name__ == "__main__":
    FAILURES[sys.argv[1]]()
