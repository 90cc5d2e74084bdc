import pytest
import torch

import throughtime as tt
from runs import same_bits, small_run
from throughtime.training.running_mean import RunningMean


def test_the_mean_is_that_of_its_equation():
    model = torch.nn.Linear(3, 2)
    mean, seen = RunningMean(model, 0.9), []
    expected = model.weight.detach().clone()
    for t in range(1, 200):
        with torch.no_grad():
            model.weight.normal_()
        seen.append(model.weight.detach().clone())
        d = min(0.9, (1 + t) / (10 + t))
        expected = d * expected + (1 - d) * seen[-1]
        mean.after_step(t)
    with mean.in_place():
        torch.testing.assert_close(model.weight.detach(), expected)
    assert torch.equal(model.weight, seen[-1])
    with pytest.raises(KeyError), mean.in_place():
        raise KeyError
    assert torch.equal(model.weight, seen[-1])


@pytest.mark.parametrize("task", ["lm", "classify"])
def test_the_best_weights_are_the_means_and_resuming_is_exact(tmp_path, task):
    found = []
    for name, steps in (("whole", (12,)), ("parts", (5, 12))):
        (tmp_path / name).mkdir()
        config = small_run(task, tmp_path / name)
        config.optim.schedule, config.loop.eval_every, config.loop.ema = "constant", "4", 0.95
        for i, most in enumerate(steps):
            config.max_steps = most
            metrics = tt.train(config, resume=i > 0).metrics
        found.append(tt.Run.open(config.out, checkpoint="ema").model.state_dict())
    assert same_bits(*found)
    states = {
        which: tt.Run.open(config.out, checkpoint=which).model.state_dict()
        for which in ("best", "last", "ema")
    }
    assert not same_bits(states["last"], states["ema"])
    if tt.train(config, resume=True).best_step == 12:
        assert same_bits(states["best"], states["ema"])
    assert metrics["loss"] > 0


def test_a_run_without_a_mean_says_so(tmp_path):
    config = small_run("lm", tmp_path)
    config.max_steps = 3
    tt.train(config)
    with pytest.raises(tt.InputError, match="keeps no running mean"):
        tt.Run.open(config.out, checkpoint="ema")
    config.loop.ema, config.max_steps = 0.99, 6  # it may begin later
    tt.train(config, resume=True)
    tt.Run.open(config.out, checkpoint="ema")
