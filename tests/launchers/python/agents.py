"""Stand-ins for the programs that start the ranks of a node: they take the documented options and no others, tell them,
and start the ranks with the variables that the real ones give them.

torchrun: https://docs.pytorch.org/docs/stable/elastic/run.html
accelerate launch: https://huggingface.co/docs/accelerate/package_reference/cli
deepspeed.launcher.launch: what `deepspeed` starts on each node, https://www.deepspeed.ai/getting-started/
mpirun: `-n`, as https://docs.open-mpi.org/ and https://www.mpich.org/ have it
"""

import argparse
import os
import subprocess
import sys


def start(ranks, command, python=True, is_elastic=False, **variables):
    """`ranks` has a number in the world for each number on the node. Ends with the first code that is not 0; the elastic
    agents of torch.distributed.run only tell it, in these words of theirs, and end with 1."""
    command = [sys.executable, *command] if python else command
    running = []
    for local, rank in enumerate(ranks):
        words = [word.replace("{local}", str(local)) for word in command]
        own = {name: str(value).replace("{local}", str(local)) for name, value in variables.items()}
        running.append(subprocess.Popen(words, env={**os.environ, "RANK": str(rank), **own}))
    codes = [process.wait() for process in running]
    local, code = next(((local, code) for local, code in enumerate(codes) if code), (0, 0))
    if is_elastic and code:
        pid, binary = running[local].pid, command[0]
        sys.exit(f"E1129 06:00:00.0 7 multiprocessing/api.py:1002] failed (exitcode: {code}) local_rank: {local} (pid: {pid}) of binary: {binary}")
    sys.exit(code)


def parser(numbers, words, flags):
    made = argparse.ArgumentParser(allow_abbrev=False)
    for name in numbers:
        made.add_argument(name, type=int, required=True)
    for name in words:
        made.add_argument(name, required=True)
    for name in flags:
        made.add_argument(name, action="store_true")
    made.add_argument("command", nargs=argparse.REMAINDER)
    return made


def told(words):
    print("told:", *words, flush=True)
    return words


def torchrun():
    made = parser(["--nnodes", "--nproc-per-node", "--max-restarts"], ["--rdzv-backend", "--rdzv-id", "--rdzv-endpoint"], ["--no-python"])
    made.add_argument("--rdzv-conf")
    args = made.parse_args(told(sys.argv[1:]))
    each, node = args.nproc_per_node, int(os.environ["NODE_RANK"])
    ranks = range(node * each, node * each + each)
    start(ranks, args.command, not args.no_python, True, LOCAL_RANK="{local}", LOCAL_WORLD_SIZE=each, WORLD_SIZE=each * args.nnodes)


def accelerate():
    numbers = ["--num_machines", "--num_processes", "--machine_rank", "--main_process_port", "--max_restarts"]
    made = parser(numbers, ["--main_process_ip"], ["--multi_gpu", "--no_python"])
    made.add_argument("--rdzv_backend", choices=["static", "c10d"])
    command, *words = told(sys.argv[1:])
    args = made.parse_args(words)
    assert command == "launch" and args.multi_gpu == (args.num_processes > 1), words
    each = args.num_processes // args.num_machines
    ranks = range(args.machine_rank * each, args.machine_rank * each + each)
    start(ranks, args.command, not args.no_python, True, LOCAL_RANK="{local}", LOCAL_WORLD_SIZE=each,
          WORLD_SIZE=args.num_processes, MASTER_ADDR=args.main_process_ip, MASTER_PORT=args.main_process_port)


def mpirun():
    option, count, *command = told(sys.argv[1:])
    assert option == "-n", option
    variable = os.environ.get("STAND_IN_MPI", "PMI_RANK")
    start(range(int(count)), command, False, RANK="", **{variable: "{local}"})
