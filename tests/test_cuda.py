"""The laws once more on a CUDA GPU: scans, stacks, `tt.nn`, training; float32 without TF32."""

import copy
import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch.nn.utils.rnn import pack_sequence

import throughtime as tt
from cases import (
    ALL_CELLS,
    NAMED,
    ROUNDINGS,
    assert_close,
    assert_same,
    drawn,
    modest,
    outcome,
    problem,
)
from faces import (
    KINDS,
    TOLERANCE,
    as_tuple,
    assert_all_close,
    assert_equal_layers,
    both_backends,
    every_kind,
    inputs_for,
    layers,
    pair,
)
from runs import kill
from stacks import LENGTHS, N_X, RESET, data, make, named
from throughtime.command.cli import main
from throughtime.config import ModelConfig, from_dict
from throughtime.layers.heads import Softmax
from throughtime.models.language import LanguageModel
from throughtime.scans import BACKENDS
from throughtime.tasks import task_class

if not torch.cuda.is_available():
    pytest.skip("no CUDA GPU here", allow_module_level=True)

GPU = "cuda"
every_cell = pytest.mark.parametrize("cell", ALL_CELLS, ids=repr)
PAIRS = [
    (cell, name)
    for cell in ALL_CELLS
    for name in BACKENDS
    if tt.why_not(name, cell, torch.empty(1, 1, 1, device=GPU), cell.weights(1, 1, device=GPU))
    is None
]
"""Every cell with every backend that can run it on the GPU."""
every_pair = pytest.mark.parametrize(("cell", "backend"), PAIRS, ids=repr)
both_precisions = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)


@pytest.fixture(autouse=True)
def without_tf32(monkeypatch):
    """cuDNN's recurrent layers round their products to TF32 unless told otherwise."""
    monkeypatch.setattr(torch.backends.cudnn.rnn, "fp32_precision", "ieee")


def roundings(cell, backend, dtype) -> int:
    """What a scan may be off by. cuDNN's tanh and σ are not correct to the last digits of float32.

    2e-4 at magnitude one, three times the greatest difference found in any gradient; relu and
    float64 keep the bound of the CPU.
    """
    coarse = backend == "native" and dtype == torch.float32 and cell != tt.RNN("relu")
    return 1700 if coarse else ROUNDINGS


def fits(backend, dtype):
    """Leave out what a backend does not run on a GPU: compiled scans in float64."""
    if backend == "compiled" and dtype == torch.float64:
        pytest.skip("compiled scans on CUDA have no float64")


# Scans


@both_precisions
@pytest.mark.parametrize("kind", NAMED)
@every_pair
def test_backends_agree_with_the_float64_reference_on_the_cpu(cell, backend, kind, dtype):
    fits(backend, dtype)
    p = problem(cell, **NAMED[kind])
    got = outcome(p, backend, dtype, GPU)
    assert_close(got, outcome(p), dtype, roundings(cell, backend, dtype))


@both_precisions
@every_pair
@given(drawn())
@modest
def test_backends_agree_with_the_float64_reference_at_any_size(cell, backend, dtype, arguments):
    fits(backend, dtype)
    p = problem(cell, **arguments)
    got = outcome(p, backend, dtype, GPU)
    assert_close(got, outcome(p), dtype, roundings(cell, backend, dtype))


@both_precisions
@every_pair
def test_wide_layers_agree_with_the_float64_reference(cell, backend, dtype):
    fits(backend, dtype)
    p = problem(cell, T=12, B=32, n=256, n_x=192, lengths=[12, 7, 0, 3] * 8)
    got = outcome(p, backend, dtype, GPU)
    assert_close(got, outcome(p), dtype, roundings(cell, backend, dtype))


def test_tf32_which_is_torchs_default_is_near_the_reference(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn.rnn, "fp32_precision", "tf32")
    p = problem(tt.LSTM(), T=12, B=32, n=256, n_x=192)
    right = outcome(p)
    got = outcome(p, "native", torch.float32, GPU)
    for name, expected in right.items():
        assert float((got[name].double() - expected).norm() / expected.norm()) < 2e-3, name


@pytest.mark.parametrize("kind", ["plain", "one step", "ragged", "reset and ragged"])
@every_pair
def test_bf16_autocast_is_near_the_float64_reference(cell, backend, kind):
    p = problem(cell, **NAMED[kind])
    with torch.autocast(GPU, torch.bfloat16):
        got = outcome(p, backend, torch.float32, GPU)
    for name, right in outcome(p).items():
        allowed = 0.06 * max(1.0, float(right.abs().max()))
        assert float((got[name].double() - right).abs().max()) < allowed, name


@pytest.mark.parametrize("fill", [float("nan"), 1e30])
@every_pair
def test_padding_is_inert(cell, backend, fill):
    fits(backend, torch.float64)
    p = problem(cell, B=4, lengths=[3, 5, 0, 4], reset=[(1, 0), (4, 0), (3, 1), (2, 3)])
    clean, filled = p.x.clone(), p.x.clone()
    clean[p.padding], filled[p.padding] = 0, fill
    right = outcome(replace(p, x=clean), backend, device=GPU)
    assert_same(outcome(replace(p, x=filled), backend, device=GPU), right)


@every_pair
def test_lengths_and_resets_may_be_on_either_device(cell, backend):
    fits(backend, torch.float64)
    p = problem(cell, lengths=[3, 0, 5], reset=[(1, 0)])
    there = replace(p, lengths=p.lengths.to(GPU), reset=p.reset.to(GPU))
    assert_same(outcome(there, backend, device=GPU), outcome(p, backend, device=GPU))


@every_pair
def test_an_empty_batch_is_scanned_to_nothing(cell, backend):
    fits(backend, torch.float64)
    p = problem(cell, B=0)
    for name, right in outcome(p).items():
        assert torch.equal(outcome(p, backend, device=GPU)[name], right), name


@every_pair
def test_splitting_a_sequence_and_carrying_the_state_equals_the_whole(cell, backend):
    fits(backend, torch.float64)
    p = problem(cell, T=7)
    x, state = p.x.to(GPU), cell.State(*(part.to(GPU) for part in p.state))
    w = on_gpu(p.w)
    whole, final = tt.scan(cell, w, x, state, backend=backend)
    for cut in (0, 1, 3, 6):
        head, middle = tt.scan(cell, w, x[:cut], state, backend=backend)
        tail, end = tt.scan(cell, w, x[cut:], middle, backend=backend)
        assert_close(
            named(torch.cat([head, tail]).cpu(), to_cpu(end)), named(whole.cpu(), to_cpu(final))
        )


def on_gpu(w: tt.Weights) -> tt.Weights:
    W_x, W_a, b, vectors = w[:4]
    return tt.Weights(
        W_x.to(GPU), W_a.to(GPU), b.to(GPU), {name: v.to(GPU) for name, v in vectors.items()}
    )


def to_cpu(state):
    return type(state)(*(part.cpu() for part in state))


# Stacks


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "bidirectional"])
@every_cell
def test_a_stack_gives_what_it_gives_on_the_cpu(cell, bidirectional, training):
    here = make(cell, 2, bidirectional=bidirectional, skips=True).train(training)
    there = copy.deepcopy(here).to(GPU)
    x, state = data(here)
    results = []
    for stack, device in ((here, "cpu"), (there, GPU)):
        leaf = x.clone().requires_grad_()
        start = type(state)(*(part.to(device) for part in state))
        y, final = stack(leaf.to(device), start, lengths=LENGTHS, reset=RESET)
        out = named(y.cpu(), to_cpu(final))
        loss = sum((r * torch.linspace(-1, 1, r.numel()).view_as(r)).sum() for r in out.values())
        loss.backward()
        gradients = {f"d {name}": p.grad.cpu() for name, p in stack.named_parameters()}
        results.append(out | gradients | {"d x": leaf.grad})
    assert_close(results[1], results[0])


@every_cell
def test_step_by_step_equals_the_whole(cell):
    stack = make(cell, 3, skips=True).to(GPU)
    x = data(stack)[0].to(GPU)
    whole, final = stack(x)
    state, ys = None, []
    for x_t in x:
        y_t, state = stack.step(x_t, state)
        ys.append(y_t)
    assert_close(named(torch.stack(ys).cpu(), to_cpu(state)), named(whole.cpu(), to_cpu(final)))


def test_dropouts_act_and_follow_the_seed():
    stack = make(tt.LSTM, 3, dropout=0.4, locked_dropout=True, weight_drop=0.3).to(GPU)
    x = torch.ones(6, 4, N_X, dtype=torch.float64, device=GPU)

    def once(seed):
        torch.manual_seed(seed)
        return stack(x)[0]

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


# tt.nn


@both_precisions
@both_backends
@every_kind
@given(layers())
@settings(modest, max_examples=10)
def test_layers_equal_torchs_with_every_gradient(monkeypatch, kind, backend, dtype, drawn):
    if backend == "reference":  # the coarser of the two is torch's: see `roundings`
        monkeypatch.setitem(TOLERANCE, torch.float32, 2e-4)
    torch.manual_seed(drawn["seed"])
    ours, theirs = pair(kind, *drawn["sizes"], backend=backend, dtype=dtype, **drawn["options"])
    ours, theirs = ours.to(GPU), theirs.to(GPU)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x, hx = inputs_for(drawn, theirs, dtype)
    x = x.to(GPU) if isinstance(x, torch.Tensor) else [one.to(GPU) for one in x]
    if hx is not None:
        hx = tuple(h.to(GPU) for h in hx) if isinstance(hx, tuple) else hx.to(GPU)
    assert_equal_layers(ours, theirs, x, hx, dtype)


@pytest.mark.parametrize("where", ["cpu", GPU])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_lengths_mean_on_the_gpu_what_they_mean_on_the_cpu(kind, backend, where):
    torch.manual_seed(0)
    here, _ = pair(kind, 3, 4, 2, backend="reference", bidirectional=True)
    there = pair(kind, 3, 4, 2, backend=backend, bidirectional=True)[0].to(GPU)
    there.load_state_dict(here.state_dict(), strict=True)
    lengths = torch.tensor([3, 0, 5, 2])
    x = torch.randn(5, 4, 3).double()
    right, end = here(x, lengths=lengths)
    y, final = there(x.to(GPU), lengths=lengths.to(where))
    got = [part.cpu() for part in (y, *as_tuple(final))]
    assert_all_close(got, [right, *as_tuple(end)], torch.float64)


def test_a_packed_sequence_in_bf16_autocast():
    torch.manual_seed(0)
    ours, theirs = pair("LSTM", 3, 4, 2, dtype=torch.float32, bidirectional=True)
    packed = pack_sequence([torch.randn(k, 3) for k in (2, 5, 3)], enforce_sorted=False).to(GPU)
    with torch.autocast(GPU, torch.bfloat16):
        assert torch.equal(ours.to(GPU)(packed)[0].data, theirs.to(GPU)(packed)[0].data)


# Heads and models


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_the_chunked_softmax_gives_what_the_whole_gives(scale, monkeypatch):
    monkeypatch.setattr("throughtime.layers.heads.LOGITS_AT_ONCE", 100)
    torch.manual_seed(0)
    head = Softmax(6, 30).double().to(GPU)
    h = torch.randn(17, 6, dtype=torch.float64, device=GPU, requires_grad=True)
    y = torch.randint(30, (17,), device=GPU)
    leaves = [h, head.weight, head.bias]
    got = torch.autograd.grad(scale * head(h, y), leaves)
    whole = torch.nn.functional.cross_entropy(head.logits(h), y)
    right = torch.autograd.grad(scale * whole, leaves)
    for mine, theirs in zip(got, right):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "options",
    [{}, {"tied": True, "embedding_size": 5}, {"head": "adaptive", "cutoffs": [5, 15]}],
    ids=["plain", "tied", "adaptive"],
)
def test_a_model_gives_what_it_gives_on_the_cpu(options):
    torch.manual_seed(0)
    here = LanguageModel(tt.LSTM, 30, ModelConfig(hidden_size=16, num_layers=2, **options)).double()
    there = copy.deepcopy(here).to(GPU)
    tokens = torch.randint(30, (10, 3))
    for recompute in (0, 4):
        losses = []
        for model, device in ((here, "cpu"), (there, GPU)):
            model.zero_grad()
            ids = tokens.to(device)
            loss, _ = model(ids[:-1], ids[1:], model.initial_state(3), recompute)
            loss.backward()
            losses.append(loss.detach().cpu())
        torch.testing.assert_close(losses[1], losses[0], rtol=1e-6, atol=1e-6)
        for a, b in zip(there.parameters(), here.parameters()):
            torch.testing.assert_close(a.grad.cpu(), b.grad, rtol=1e-5, atol=1e-7)


# Runs


TEXT = "the cat, which already ate a lot, was full. the cats, which ate, were full.\n"


@pytest.fixture
def config(tmp_path):
    """A small run on the GPU; change what a test is about."""
    text = tmp_path / "text.txt"
    text.write_text("".join(TEXT.replace("cat", w) for w in ("cat", "dog", "bird", "fox")) * 12)

    def config(out="run", *, loop=None, model=None, **settings):
        values = {
            "train": [str(text)],
            "out": str(tmp_path / out),
            "max_steps": 12,
            "device": GPU,
            "model": {"hidden_size": 16, "num_layers": 2, "dropout": 0.2} | (model or {}),
            "optim": {"lr": 0.01, "warmup": 0},
            "loop": {"batch_size": 4, "window": 16, "sample_every": "4", "eval_every": "4",
                     "save_every": "3"} | (loop or {}),
        }  # fmt: skip
        return from_dict(tt.LanguageConfig, values | settings)

    return config


def weights(config):
    return torch.load(f"{config.out}/trainer.pt", weights_only=True, map_location="cpu")["model"]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
@pytest.mark.parametrize("cell", ["lstm", "gru-reset-after", "peephole-lstm"])
def test_a_killed_run_resumed_gives_the_same_bits(config, cell, precision):
    options = {"cell": cell, "loop": {"precision": precision}, "model": {"weight_drop": 0.1}}
    whole, killed = config("whole", **options), config("killed", **options)
    result = tt.train(whole)
    assert result.metrics["loss"] < 3.5
    kill(killed, at_step=7)
    tt.train(killed, resume=True)
    assert_same(weights(killed), weights(whole))


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_wide_run_repeats_itself_bit_for_bit(config, precision):
    options = {"model": {"hidden_size": 256}, "loop": {"precision": precision, "window": 32}}
    runs = [config(out, max_steps=20, **options) for out in ("one", "two")]
    for run in runs:
        tt.train(run)
    assert_same(weights(runs[0]), weights(runs[1]))


def test_the_same_steps_on_gpu_and_cpu_end_near_each_other(config):
    options = {"model": {"dropout": 0.0}, "max_steps": 5}
    there, here = config("gpu", **options), config("cpu", device="cpu", **options)
    tt.train(there)
    tt.train(here)
    for name, right in weights(here).items():
        torch.testing.assert_close(weights(there)[name], right, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("level", ["char", "word"])
def test_full_bptt_trains_in_bounded_memory(config, level):
    head = {"head": "adaptive", "cutoffs": [3, 8]} if level == "word" else {}
    run = config(level=level, loop={"window": 0, "recompute": 50}, model=head)
    assert tt.train(run).metrics["loss"] < 4


def test_a_run_is_evaluated_and_writes_on_either_device(config):
    run = config(max_steps=60)
    tt.train(run)
    there, here = (tt.evaluate(run.out, device=device) for device in (GPU, "cpu"))
    assert there.nats_per_token == pytest.approx(here.nats_per_token, rel=1e-5)
    texts = [tt.generate(run.out, "the ", max_new_tokens=40, temperature=0, device=device)
             for device in (GPU, "cpu")]  # fmt: skip
    assert texts[0] == texts[1]
    drawn = [tt.generate(run.out, max_new_tokens=40, seed=3, top_k=9, top_p=0.9, device=GPU)
             for _ in range(2)]  # fmt: skip
    assert drawn[0] == drawn[1]
    beams = [tt.generate(run.out, "the ", max_new_tokens=9, num_beams=3, device=device)
             for device in (GPU, "cpu")]  # fmt: skip
    assert beams[0] == beams[1]


def test_the_command_line_runs_on_the_gpu(config, capsys):
    run = config()
    small = ["--max-steps", "6", "--model.hidden_size", "12", "--loop.batch_size", "4",
             "--loop.window", "8", "--loop.precision", "bf16"]  # fmt: skip
    command = ["train", "lm", "--train", *run.train, "--out", run.out, "--device", GPU, *small]
    assert main(command) == 0
    assert main(["train", "lm", "--out", run.out, "--resume", "--max-steps", "9"]) == 0
    assert "(9 steps" in capsys.readouterr().out
    assert main(["evaluate", run.out, "--device", GPU, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nats_per_token"] > 0
    assert main(["generate", run.out, "--device", GPU, "--max-new-tokens", "5"]) == 0
    assert main(["doctor"]) == 0
    assert torch.cuda.get_device_name() in capsys.readouterr().out


def test_batches_and_models_are_on_the_gpu(config):
    task = task_class("lm").prepare(config(), device=torch.device(GPU))
    tokens, targets, _ = task.batch(0, 0)
    assert tokens.is_cuda
    assert targets.is_cuda
    assert all(p.is_cuda for p in task.build_model().parameters())
