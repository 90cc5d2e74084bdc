"""What of a model learns, when, and how fast: freezing, unfreezing, slanted rates."""

import pytest
import torch
from torch import nn

import throughtime as tt
from throughtime.config import OptimConfig
from throughtime.ground.errors import InputError
from throughtime.layers.stack import Stack
from throughtime.training import trainer as trainers
from throughtime.training.optimization import Freezing, Schedule, parameters_of


class Reader(nn.Module):
    """Embedding, a stack of two layers that read both ways, a head."""

    def __init__(self):
        super().__init__()
        self.inputs = nn.ModuleDict({"embedding": nn.Embedding(5, 4)})
        self.stack = Stack("gru", 4, 3, 2, bidirectional=True)
        self.head = nn.Linear(6, 2)


def named(model, parameters):
    names = {id(p): name for name, p in model.named_parameters()}
    return {names[id(p)].rpartition(".")[0] for p in parameters}


def test_parts_are_modules_layers_or_parameters():
    model = Reader()
    assert named(model, parameters_of(model, "stack.1")) == {"stack.weights.2", "stack.weights.3"}
    assert named(model, parameters_of(model, "embedding")) == {"inputs.embedding"}
    assert parameters_of(model, "head.bias")[0] is model.head.bias
    assert len(parameters_of(model, "head.bias")) == 1
    with pytest.raises(InputError, match="no 'hea'; it has inputs, stack, head"):
        parameters_of(model, "hea")
    with pytest.raises(InputError, match="nothing is left to learn"):
        Freezing(model, OptimConfig(freeze=["inputs,stack,head"]))


def test_frozen_parts_thaw_one_after_the_other_the_last_one_first():
    model = Reader()
    freezing = Freezing(model, OptimConfig(freeze=["embedding,stack.0", "stack.1"], unfreeze=0.25))
    learns = []
    for progress in (0.0, 0.24, 0.25, 0.5, 0.75, 1.0):
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        freezing.hold(progress)
        learns.append(named(model, [p for p in model.parameters() if p.grad is not None]))
    layers = [{f"stack.weights.{2 * k}", f"stack.weights.{2 * k + 1}"} for k in range(2)]
    head = {"head"}
    assert learns[:2] == [head, head]
    assert learns[2] == head | layers[1]
    assert learns[3] == head | layers[0] | layers[1]
    assert learns[4] == learns[5] == learns[3] | {"inputs.embedding"}


def test_a_part_begins_to_learn_in_mid_run(settings, monkeypatch):
    config = settings(optim={"freeze": ["embedding"], "unfreeze": 0.5, "weight_decay": 0.1})
    seen, step = [], trainers.Trainer._one_step

    def one_step(self):
        before = self.model.embedding.weight.detach().clone()
        step(self)
        seen.append(not torch.equal(before, self.model.embedding.weight))

    monkeypatch.setattr(trainers.Trainer, "_one_step", one_step)
    tt.train(config)
    assert seen == [False] * 6 + [True] * 6


def test_a_slanted_rate_rises_for_a_tenth_and_falls_evenly():
    schedule = Schedule(OptimConfig(lr=2.0, schedule="slanted", final_lr=0.05, warmup=0))
    rates = [schedule.lr(0, 0, progress) for progress in (0.0, 0.05, 0.1, 0.55, 0.991, 1.0)]
    assert rates == pytest.approx([0.1, 1.0, 2.0, 1.0, 0.1, 0.1])
