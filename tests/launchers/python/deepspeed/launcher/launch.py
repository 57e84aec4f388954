"""A stand-in: see `agents`."""

import base64
import json
import sys

from agents import parser, start, told

if __name__ == "__main__":
    made = parser(["--node_rank", "--master_port"], ["--master_addr", "--world_info"], ["--no_python", "--no_local_rank"])
    args = made.parse_args(told(sys.argv[1:]))
    world = json.loads(base64.urlsafe_b64decode(args.world_info))
    print("world:", json.dumps(world), flush=True)
    nodes = list(world)
    gpus = world[nodes[args.node_rank]]
    first = sum(len(world[node]) for node in nodes[: args.node_rank])
    program, *words = args.command
    command = [program, *([] if args.no_local_rank else ["--local_rank={local}"]), *words]
    start(range(first, first + len(gpus)), command, not args.no_python, LOCAL_RANK="{local}",
          WORLD_SIZE=sum(len(gpus) for gpus in world.values()), LOCAL_SIZE=len(gpus), MASTER_ADDR=args.master_addr,
          MASTER_PORT=args.master_port, CUDA_VISIBLE_DEVICES=",".join(map(str, gpus)))
