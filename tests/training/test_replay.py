"""A tape plays what its function computes, to the last bit; and whatever cannot be played is called as it is."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import vmap

from maestune.training.replay import Replay

W = torch.linspace(-1, 1, 12).view(4, 3)
Named = Mapping[str, Any]


def x(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape or (5, 4), generator=torch.Generator().manual_seed(seed))


def played(function: Callable[..., Any], *inputs: Named) -> list[Tensor]:
    """What a tape gives for the last inputs, after it has been given all of them in turn."""
    replay = Replay(function)
    for each in inputs:
        found = replay(each)
        expected = function(each)
        assert len(found) == len(expected)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert not any(tensor.requires_grad for tensor in found)
    assert replay.active
    return list(found)


def gradient(inputs: Named) -> list[Tensor]:
    w = W.detach().clone().requires_grad_()
    loss = ((inputs["x"] @ w).tanh() * inputs["rate"]).square().sum()
    return [loss.detach(), *torch.autograd.grad(loss, [w])]


def test_it_computes_what_the_function_does() -> None:
    played(gradient, *({"x": x(k), "rate": 0.3 + k} for k in range(5)))
    assert not torch.equal(gradient({"x": x(0), "rate": 0.3})[1], gradient({"x": x(0), "rate": 0.4})[1])


def test_the_function_is_no_longer_called() -> None:
    calls: list[int] = []

    def counted(inputs: Named) -> list[Tensor]:
        calls.append(1)
        return gradient(inputs)

    replay = Replay(counted)
    for k in range(6):
        replay({"x": x(k), "rate": 0.5})
    assert len(calls) == 3, "as it is, to be written down, and to be compared"


def test_weights_may_change_in_place() -> None:
    weight = W.clone()

    def product(inputs: Named) -> list[Tensor]:
        return [inputs["x"] @ weight, weight.T.reshape(-1)[:5], weight * 1]

    replay = Replay(product)
    for k in range(5):
        assert all(torch.equal(a, b) for a, b in zip(replay({"x": x(k)}), product({"x": x(k)}), strict=True))
        weight.mul_(-1.5)
    assert replay.active


def test_several_functions_of_members_at_once() -> None:
    weights = torch.stack([W, -W, 2 * W])

    def one(w: Tensor, rate: Tensor, batch: Tensor) -> Tensor:
        first, second = (batch @ w).split(2, dim=1)
        return (torch.softmax(first, 1).mean() + second.square().sum()) * rate

    def graded(inputs: Named) -> list[Tensor]:
        leaves = weights.detach().requires_grad_()
        losses = vmap(one, in_dims=(0, 0, None))(leaves, inputs["rate"], inputs["x"])
        return [losses.detach(), *torch.autograd.grad(losses.sum(), [leaves])]

    played(graded, *({"x": x(k), "rate": x(k, 3)} for k in range(4)))


def test_constants_are_made_once_and_inputs_may_be_returned() -> None:
    def shifted(inputs: Named) -> list[Tensor]:
        grid = torch.arange(4.0).view(1, 4).expand(5, 4) / 4
        return [inputs["x"] + grid, inputs["x"], grid, torch.zeros(2)]

    played(shifted, *({"x": x(k)} for k in range(4)))


def test_values_that_are_not_numbers_are_equal_to_themselves() -> None:
    replay = Replay(lambda inputs: [inputs["x"] / 0.0 * inputs["zero"]])
    for _ in range(3):
        (found,) = replay({"x": x(0), "zero": 0.0})
    assert replay.active
    assert found.isnan().all()


def test_other_shapes_are_written_down_anew() -> None:
    replay = Replay(lambda inputs: [inputs["x"].sum(0), inputs["x"].mean()])
    for n in (5, 5, 5, 7, 7, 7, 5):
        total, mean = replay({"x": x(n, n, 2)})
        assert torch.equal(total, x(n, n, 2).sum(0))
        assert torch.equal(mean, x(n, n, 2).mean())


def test_what_is_not_needed_any_more_is_let_go() -> None:
    made: list[weakref.ref[Tensor]] = []
    most: list[int] = []

    class Watched(Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = super().__torch_function__(func, types, args, kwargs or {})
            if isinstance(out, Tensor):
                made.append(weakref.ref(out))
                most.append(sum(ref() is not None for ref in made))
            return out

    def chain(inputs: Named) -> list[Tensor]:
        y = inputs["x"]
        for _ in range(20):
            y = y + 1.0
        return [y]

    replay = Replay(chain)
    for _ in range(2):
        replay({"x": x(0)})
    assert replay.active
    replay({"x": x(1).as_subclass(Watched)})
    assert len(most) >= 20
    assert max(most[2:]) <= 3


# What cannot be played ------------------------------------------------------------------------------------------------


def never_played(function: Callable[..., Any], times: int = 4, **numbers: float) -> Replay:
    replay = Replay(function)
    for k in range(times):
        replay({"x": x(k), **numbers})
    assert not replay.active
    return replay


def test_random_numbers_of_its_own() -> None:
    drop = nn.Dropout(0.5)
    never_played(lambda inputs: [drop(inputs["x"])])
    never_played(lambda inputs: [inputs["x"] + torch.rand(4)])
    generator = torch.Generator().manual_seed(0)
    never_played(lambda inputs: [inputs["x"] + torch.randn(4, generator=generator)])


def test_a_state_is_written_once_a_call() -> None:
    norm = nn.BatchNorm1d(4)
    never_played(lambda inputs: [norm(inputs["x"])], times=4)
    other = nn.BatchNorm1d(4)
    for k in range(4):
        other(x(k))
    assert torch.equal(norm.running_mean, other.running_mean)  # type: ignore[arg-type]
    assert int(norm.num_batches_tracked) == 4  # type: ignore[arg-type]
    count = torch.zeros(())

    def counting(inputs: Named) -> list[Tensor]:
        count.add_(1)
        return [inputs["x"] * count]

    never_played(counting, times=5)
    assert count == 5


def test_a_frozen_batch_norm_is_played() -> None:
    norm = nn.BatchNorm1d(4, track_running_stats=False)
    replay = Replay(lambda inputs: [norm(inputs["x"]).detach()])
    for k in range(4):
        assert torch.equal(replay({"x": x(k)})[0], norm(x(k)))
    assert replay.active


@pytest.mark.parametrize(
    "function",
    [
        lambda inputs: [inputs["x"] if inputs["x"].sum() > 0 else -inputs["x"]],
        lambda inputs: [inputs["x"] * float(inputs["x"].max())],
        lambda inputs: [inputs["x"].clone() if torch.equal(inputs["x"], inputs["x"]) else inputs["x"]],
        lambda inputs: [inputs["x"][inputs["x"] > 0].sum()],
        lambda inputs: [inputs["x"][inputs["x"].sum(1).nonzero()[:, 0]]],
        lambda inputs: [inputs["x"] * inputs["x"].argmax().item()],
        lambda inputs: [inputs["x"] * (2.0 if inputs["rate"] > 1 else 3.0)],
    ],
)
def test_branches_on_values(function: Callable[..., Any]) -> None:
    replay = Replay(function)
    for k in range(5):
        rate = 0.5 + k % 2
        (found, *_) = replay({"x": x(k), "rate": rate})
        assert torch.equal(found, function({"x": x(k), "rate": rate})[0])
    assert not replay.active


def test_what_is_kept_elsewhere_is_noticed() -> None:
    state = [1.0]
    replay = Replay(lambda inputs: [inputs["x"] * state[0]])
    for k in range(5):
        assert torch.equal(replay({"x": x(k)})[0], x(k) * state[0])
        state[0] += 1.0
    assert not replay.active


def test_what_makes_large_tensors_is_not_kept_to_be_written_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maestune.training.replay.MOST_BYTES", 2400)

    def chain(inputs: Named) -> list[Tensor]:
        for _ in range(inputs["x"].shape[1]):
            inputs = {"x": inputs["x"] + 1.0}
        return [inputs["x"]]

    played(chain, *({"x": x(k, 20, 5)} for k in range(3)))
    never_played(lambda inputs: chain({"x": inputs["x"].repeat(1, 5)}))


def test_kernels_that_do_not_take_what_they_give_are_not_played() -> None:
    cell = nn.LSTM(4, 3)

    def graded(inputs: Named) -> list[Tensor]:
        loss = cell(inputs["x"])[0].square().sum()
        return [loss.detach(), *torch.autograd.grad(loss, list(cell.parameters()))]

    replay = Replay(graded)
    for k in range(4):
        assert all(torch.equal(a, b) for a, b in zip(replay({"x": x(k)}), graded({"x": x(k)}), strict=True))


def test_a_function_that_fails_fails_as_it_is() -> None:
    def failing(inputs: Named) -> list[Tensor]:
        raise ValueError("no such thing")

    replay = Replay(failing)
    for _ in range(3):
        with pytest.raises(ValueError, match="no such thing"):
            replay({"x": x(0)})


def test_numbers_that_only_numbers_can_be_stay_numbers() -> None:
    def repeated(inputs: Named) -> list[Tensor]:
        return [torch.cat([inputs["x"]] * int(inputs["n"])), inputs["x"].new_full((2,), inputs["n"])]

    replay = Replay(repeated)
    for n in (2, 2, 3, 3):
        assert torch.equal(replay({"x": x(0), "n": n})[0], repeated({"x": x(0), "n": n})[0])


# Writing in place -----------------------------------------------------------------------------------------------------


def test_what_a_call_makes_it_may_write() -> None:
    def filled(inputs: Named) -> list[Tensor]:
        total = torch.zeros(5, 4)
        before = total + 1.0
        row = total[1]
        row.add_(inputs["x"][0])
        total.t().mul_(2.0).sub_(inputs["rate"])
        picked = torch.zeros(4).index_put_((torch.tensor([2]),), inputs["x"][0, :1], accumulate=True)
        return [total, before, picked, torch.ones_like(inputs["x"]).fill_(3.0)]

    played(filled, *({"x": x(k), "rate": float(k)} for k in range(5)))


def test_what_was_there_before_it_may_not() -> None:
    weight = W.clone()

    def writes_input(inputs: Named) -> list[Tensor]:
        return [inputs["x"].t().mul_(1.0)]

    def writes_weight(inputs: Named) -> list[Tensor]:
        weight.view(-1)[2:].add_(1.0)
        return [inputs["x"] @ weight]

    def writes_several(inputs: Named) -> list[Tensor]:
        torch._foreach_add_([weight], 1.0)  # pyright: ignore[reportPrivateImportUsage]
        return [inputs["x"] @ weight]

    never_played(writes_several, times=3)
    assert torch.equal(weight, W + 1.0 + 1.0 + 1.0)
    weight.copy_(W)
    never_played(writes_input)
    never_played(writes_weight, times=5)
    assert weight.view(-1)[2] == W.reshape(-1)[2] + 5.0


def test_numbers_that_would_become_tensors_of_another_type_stay_numbers() -> None:
    def scaled(inputs: Named) -> list[Tensor]:
        return [inputs["x"].sum() * inputs["rate"]]  # of two tensors without dimensions the type is the larger one

    replay = Replay(scaled)
    for k in range(4):
        (found,) = replay({"x": x(k), "rate": 0.1})
        assert found.dtype == torch.float32
        assert torch.equal(found, x(k).sum() * 0.1)
    assert not replay.active


def test_layer_norm_twice_differentiated() -> None:
    norm = nn.LayerNorm(4)

    def penalised(inputs: Named) -> list[Tensor]:
        images = inputs["x"].detach().requires_grad_()
        (slope,) = torch.autograd.grad(norm(images).tanh().sum(), [images], create_graph=True)
        penalty = (slope.square().sum(1) * inputs["gamma"]).mean()
        return [penalty.detach(), *torch.autograd.grad(penalty, list(norm.parameters()), materialize_grads=True)]

    played(penalised, *({"x": x(k), "gamma": 0.5} for k in range(4)))
