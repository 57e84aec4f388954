"""Writes two checkpoints, one after the other, with the libraries that people use: `write.py FORMAT DIRECTORY`.

They lie in `DIRECTORY/checkpoints`; after the first one that is copied to `DIRECTORY/older`. DCP, DeepSpeed, Megatron and
NeMo have two ranks. The Hugging Face Trainer splits the weights of its small model into several files.
"""

import os
import shutil
import sys
import tarfile

import torch
import torch.distributed as dist
from torch import nn

STEPS = (500, 1000)


RANKS = {"dcp": 2, "deepspeed": 2, "megatron": 2, "nemo": 2}


def between(directory):
    shutil.copytree(os.path.join(directory, "checkpoints"), os.path.join(directory, "older"))


def model():
    torch.manual_seed(7)
    return nn.Sequential(*[nn.Linear(32, 32) for _ in range(6)])


def trained(parallel=True):
    """A model and its optimizer after a step."""
    net = nn.parallel.DistributedDataParallel(model()) if parallel else model()
    optimizer = torch.optim.AdamW(net.parameters())
    net(torch.ones(1, 32)).sum().backward()
    optimizer.step()
    return net, optimizer


def in_turn(directory, save):
    """Saves both, by all ranks of a torchrun."""
    checkpoints = os.path.join(directory, "checkpoints")
    for step in STEPS:
        save(checkpoints, step)
        if dist.is_initialized():
            dist.barrier()
        if step == STEPS[0] and os.environ.get("RANK", "0") == "0":
            between(directory)
        if dist.is_initialized():
            dist.barrier()


def dcp(directory):
    import torch.distributed.checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict

    dist.init_process_group("gloo")
    weights, moments = get_state_dict(*trained())

    def save(checkpoints, step):
        state = {"model": weights, "optimizer": moments, "step": step}
        torch.distributed.checkpoint.save(state, checkpoint_id=os.path.join(checkpoints, f"step-{step}"))

    in_turn(directory, save)


def huggingface(directory):
    import transformers

    class Trainer(transformers.Trainer):
        def _save(self, output_dir=None, state_dict=None):
            self.model.save_pretrained(output_dir, state_dict=state_dict, max_shard_size="30KB")
            torch.save(self.args, os.path.join(output_dir, "training_args.bin"))

        def _save_checkpoint(self, *args, **kwargs):
            super()._save_checkpoint(*args, **kwargs)
            if self.state.global_step == 4:
                between(directory)

    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=16, vocab_size=64)
    words = [{"input_ids": torch.arange(16), "labels": torch.arange(16)}] * 8
    arguments = transformers.TrainingArguments(
        output_dir=os.path.join(directory, "checkpoints"),
        max_steps=8, save_steps=4, per_device_train_batch_size=2, report_to=[], use_cpu=True,
    )
    Trainer(model=transformers.GPT2LMHeadModel(config), args=arguments, train_dataset=words).train()


def deepspeed(directory):
    import deepspeed

    # Two ranks on one node need no shared memory of their own, which a C++ compiler would have to make.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("gloo")
    net = model()
    config = {
        "train_micro_batch_size_per_gpu": 1,
        "zero_optimization": {"stage": 1},
        "zero_allow_untested_optimizer": True,
    }
    engine, *_ = deepspeed.initialize(model=net, optimizer=torch.optim.AdamW(net.parameters()), config=config)
    engine.backward(engine(torch.ones(1, 32)).sum())
    engine.step()
    in_turn(directory, lambda checkpoints, step: engine.save_checkpoint(checkpoints, tag=f"global_step{step}"))


def megatron(directory):
    """`megatron.core` writes the distributed checkpoint; the tracker is written as Megatron-LM's own training does."""
    # It asks for a GPU even where there is none.
    torch.cuda.synchronize, torch.cuda.current_device = lambda: None, lambda: "cpu"
    from megatron.core import dist_checkpointing
    from megatron.core.dist_checkpointing.mapping import ShardedTensor

    dist.init_process_group("gloo")
    rank = dist.get_rank()

    def save(checkpoints, step):
        path = os.path.join(checkpoints, f"iter_{step:07}")
        os.makedirs(path, exist_ok=True)
        dist.barrier()
        half = torch.rand(64, 32)
        weights = {f"layer{n}": ShardedTensor.from_rank_offsets(f"layer{n}", half, (0, rank, 2)) for n in range(4)}
        dist_checkpointing.save({"model": weights, "iteration": step, "args": {"lr": 1.0}}, path)
        dist.barrier()
        if rank == 0:
            with open(os.path.join(checkpoints, "latest_checkpointed_iteration.txt"), "w") as tracker:
                tracker.write(str(step))

    in_turn(directory, save)


def lightning(directory):
    import lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = model()

        def training_step(self, batch, _):
            return self.net(batch).sum()

        def configure_optimizers(self):
            return torch.optim.AdamW(self.parameters())

    class Saves(ModelCheckpoint):
        def _save_checkpoint(self, trainer, filepath):
            super()._save_checkpoint(trainer, filepath)
            if trainer.global_step == 4:
                between(directory)

    saves = Saves(os.path.join(directory, "checkpoints"), save_top_k=-1, every_n_train_steps=4)
    lightning.Trainer(
        max_steps=8, accelerator="cpu", logger=False, callbacks=[saves], enable_progress_bar=False,
    ).fit(Module(), torch.utils.data.DataLoader(torch.ones(16, 32)))


def nemo(directory):
    """As NeMo's checkpoint callback does: the marker, then `context` and torch's distributed `weights`, then the marker goes."""
    import torch.distributed.checkpoint

    dist.init_process_group("gloo")
    net, _ = trained()
    rank = dist.get_rank()

    def save(checkpoints, step):
        path = os.path.join(checkpoints, f"model--step={step}")
        if rank == 0:
            os.makedirs(checkpoints, exist_ok=True)
            open(f"{path}-unfinished", "w").close()
        dist.barrier()
        torch.distributed.checkpoint.save({"model": net.state_dict()}, checkpoint_id=os.path.join(path, "weights"))
        dist.barrier()
        if rank == 0:
            os.makedirs(os.path.join(path, "context"))
            with open(os.path.join(path, "context", "model.yaml"), "w") as config:
                config.write("hidden_size: 32\n")
            os.remove(f"{path}-unfinished")

    in_turn(directory, save)


def nemo_file(directory):
    """A `.nemo` archive of tar, of the weights and the config, as NeMo 1 saves it."""

    def save(checkpoints, step):
        os.makedirs(checkpoints, exist_ok=True)
        net, _ = trained(parallel=False)
        weights = os.path.join(directory, "model_weights.ckpt")
        torch.save(net.state_dict(), weights)
        with tarfile.open(os.path.join(checkpoints, f"model-step={step}.nemo"), "w:") as archive:
            archive.add(weights, "./model_weights.ckpt")

    in_turn(directory, save)


def file(directory):
    def save(checkpoints, step):
        os.makedirs(checkpoints, exist_ok=True)
        net, optimizer = trained(parallel=False)
        state = {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        torch.save(state, os.path.join(checkpoints, f"step-{step}.pt"))

    in_turn(directory, save)


def safetensors(directory):
    from safetensors.torch import save_file

    def save(checkpoints, step):
        os.makedirs(checkpoints, exist_ok=True)
        save_file(model().state_dict(), os.path.join(checkpoints, f"step-{step}.safetensors"))

    in_turn(directory, save)


if __name__ == "__main__":
    name, directory = sys.argv[1:]
    if name in RANKS and "RANK" not in os.environ:
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS[name]}"]
        os.execv(sys.executable, [sys.executable, *torchrun, *sys.argv])
    globals()[name.replace("-", "_")](directory)
    if dist.is_initialized():
        dist.destroy_process_group()
