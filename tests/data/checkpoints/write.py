"""Writes a checkpoint with the libraries that people use: `write.py dcp|huggingface DIRECTORY`.

dcp is run by two ranks of torchrun. The Hugging Face Trainer splits the weights of its small model into several files.
"""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn


def dcp(directory):
    import torch.distributed.checkpoint
    from torch.distributed.checkpoint.state_dict import get_state_dict

    dist.init_process_group("gloo")
    torch.manual_seed(7)
    model = nn.parallel.DistributedDataParallel(nn.Sequential(*[nn.Linear(32, 32) for _ in range(6)]))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 32)).sum().backward()
    optimizer.step()
    weights, moments = get_state_dict(model, optimizer)
    state = {"model": weights, "optimizer": moments, "step": 500}
    torch.distributed.checkpoint.save(state, checkpoint_id=os.path.join(directory, "step-500"))
    dist.destroy_process_group()


def huggingface(directory):
    import transformers

    class Trainer(transformers.Trainer):
        def _save(self, output_dir=None, state_dict=None):
            self.model.save_pretrained(output_dir, state_dict=state_dict, max_shard_size="30KB")
            torch.save(self.args, os.path.join(output_dir, "training_args.bin"))

    config = transformers.GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=16, vocab_size=64)
    words = [{"input_ids": torch.arange(16), "labels": torch.arange(16)}] * 8
    arguments = transformers.TrainingArguments(
        output_dir=directory, max_steps=4, save_steps=4, per_device_train_batch_size=2, report_to=[], use_cpu=True
    )
    Trainer(model=transformers.GPT2LMHeadModel(config), args=arguments, train_dataset=words).train()


if __name__ == "__main__":
    {"dcp": dcp, "huggingface": huggingface}[sys.argv[1]](sys.argv[2])
