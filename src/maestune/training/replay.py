"""A pure function of tensors, played again from the kernels that it came down to.

At every operation PyTorch decides anew what it means: modules, functorch and autograd lead to the same few kernels in each
step, and for small networks take longer than these. A loss and its gradients are pure and their shapes stay, so they
are written down once, and later calls play them one after the other, with the same values to the last bit. Writing down
takes some ten milliseconds, where tracers (`torch.fx.experimental.proxy_tensor.make_fx`) take hundreds for the same
list, which a first rung of a hundred steps never gets back, and compilers tens of seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

from maestune.training.kernels import KernelMode

Inputs = Mapping[str, Tensor | float]
Play = Callable[..., list[Tensor]]

# All that a function makes is kept while it is written down. Whoever makes more has large tensors, whose kernels take far
# longer than what leads to them, and perhaps no memory for so much.
MOST_BYTES = 2**30

# Where sums are made in no fixed order a second call differs from the first.
TOLERANCE_OF_DEVICES = 1e-3

# Random numbers, numbers of the values of tensors, and shapes that depend on values.
_NOT_PLAYED = {
    torch.Tag.nondeterministic_seeded,
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
}
# They bring running statistics up to date without saying so in their schemas.
_KEEP_STATISTICS = ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")


class Replay:
    """`function` of groups of named tensors and numbers → tensors, from its third call on played from a tape.

    The function is pure, and always gets the same names in the same order. Other tensors that it reads (weights) may
    change in place between two calls, but not be exchanged. After the first call it is written down, at the second
    computed in both ways. Where the results differ, and where the function draws random numbers, writes into what was
    there before, or turns a tensor into a number, it is called as it is from then on. Other shapes are written down anew.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]]) -> None:
        self._function = function
        self._shapes: list[torch.Size] = []
        self._play: Play | None = None
        self._trusted = False
        self._refused = False
        self._numbers: tuple[float, ...] = ()
        self._scalars: tuple[Tensor, ...] = ()

    @property
    def active(self) -> bool:
        """Whether calls are played, having turned out equal."""
        return self._play is not None and self._trusted

    @property
    def unsupported(self) -> bool:
        """Whether the function has turned out to be one that cannot be played."""
        return self._refused

    def __call__(self, *groups: Inputs) -> Sequence[Tensor]:
        """What the function gives for these inputs."""
        if self._refused:
            return self._called(groups)
        inputs = self._flat(groups)
        shapes = [tensor.shape for tensor in inputs]
        if self._play is None or shapes != self._shapes:
            called = self._called(groups)
            self._shapes, self._trusted, self._play = shapes, False, None
            self._write(groups, inputs)
            return called
        if not self._trusted:
            called = self._called(groups)
            with suppress(Exception):  # kernels that give what they do not take
                self._trusted = all(map(_same_values, self._played(inputs), called))
            self._refused = not self._trusted
            return called
        return self._played(inputs)

    @torch.no_grad()
    def _played(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        assert self._play is not None
        return self._play(*inputs)

    def _called(self, groups: Sequence[Inputs]) -> Sequence[Tensor]:
        with torch.enable_grad():
            return self._function(*groups)

    def _write(self, groups: Sequence[Inputs], inputs: Sequence[Tensor]) -> None:
        """Write down what the function comes down to, if that can be, without leaving any other trace."""
        tensors = iter(inputs)
        handed = [{name: next(tensors) for name in group} for group in groups]
        recorder = _Recorder(inputs)
        with suppress(Exception):  # that of a function with which something is wrong comes when it is called as it is
            with recorder:
                results = self._called(handed)
            self._play = recorder.play(results)
        self._refused = self._play is None

    def _flat(self, groups: Sequence[Inputs]) -> list[Tensor]:
        """All inputs in order, numbers as tensors without dimensions, which count as numbers in arithmetic."""
        values = [value for group in groups for value in group.values()]
        numbers = tuple(value for value in values if not isinstance(value, Tensor))
        if numbers != self._numbers:
            self._numbers = numbers
            self._scalars = torch.tensor(numbers, dtype=torch.float64).unbind()
        scalars = iter(self._scalars)
        return [value if isinstance(value, Tensor) else next(scalars) for value in values]


@dataclass(frozen=True)
class _Call:
    """One kernel: what it is called with, as source text, the names of the values in it, and what it has made.

    `writes`: whether it writes into one of them.
    """

    function: str
    arguments: str
    needs: frozenset[str]
    result: str
    made: Any
    writes: bool


class _Refused(Exception):
    """A call that cannot be played."""


class _Recorder(KernelMode):
    """Writes down what is called below autograd. Values have names: `i0` is an input; `h3` held, a tensor that was there
    before or a view of one, whose memory stays; `v3` made by a call, perhaps as a part, `v3[0]`.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self._inputs = [f"i{k}" for k in range(len(inputs))]
        self._texts = {id(tensor): text for text, tensor in zip(self._inputs, inputs, strict=True)}
        self._alive: list[object] = list(inputs)  # whose id is in use stays
        self._names: dict[str, Any] = {}  # what the source refers to
        self._calls: list[_Call] = []
        self._owners: dict[str, str] = {}  # of a view's name, that of whose memory it shows
        self._written: set[str] = set()  # owners
        self._bytes = 0  # of all that was made, views too

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        written = self._written_by(func._schema, args, kwargs)
        if (
            # What is made in a call may be written, since it is made anew at every call.
            any(owner[0] != "v" for owner in written)
            or not _NOT_PLAYED.isdisjoint(func.tags)
            or _masked(func._schema.name, args)
            or (func._schema.name.partition("::")[2] in _KEEP_STATISTICS and args[3] is not None)
        ):
            raise _Refused  # before anything is written or drawn
        self._written |= written
        made = func(*args, **kwargs)
        self._alive.append(made)
        self._bytes += sum(tensor.nbytes for tensor in tree_leaves(made) if isinstance(tensor, Tensor))
        if self._bytes > MOST_BYTES:
            raise _Refused
        needs: set[str] = set()
        arguments = ", ".join(
            [*(self._text(arg, needs) for arg in args)]
            + [f"{name}={self._text(arg, needs)}" for name, arg in kwargs.items()]
        )
        view = not written and any(result.alias_info is not None for result in func._schema.returns)
        if isinstance(made, Tensor) and view and _shows_all(made, args[0]):
            self._texts[id(made)] = self._text(args[0], set())
        elif view and all(name[0] == "h" for name in needs):
            self._result(made, lambda tensor, _: self._named("h", tensor))
        else:
            result = f"v{len(self._calls)}"
            # `_op` is what calling an overload comes down to; the way there takes a tenth of a small network's step.
            function = self._named("f", getattr(func, "_op", func))
            self._calls.append(_Call(function, arguments, frozenset(needs), result, made, bool(written)))
            if view:
                self._owners[result] = self._owner(args[0])
            if not written:
                self._result(made, lambda _, place: f"{result}{place}")
        return made

    def _written_by(self, schema: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> set[str]:
        """The owners of the memory that a call writes into."""
        given = {argument.name: value for argument, value in zip(schema.arguments, args, strict=False)} | dict(kwargs)
        written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        # Lists of tensors too (torch._foreach_add_).
        return {self._owner(t) for name in written for t in tree_leaves(given.get(name)) if isinstance(t, Tensor)}

    def _owner(self, tensor: Tensor) -> str:
        name = self._text(tensor, set()).partition("[")[0]
        return self._owners.get(name, name)

    def _result(self, made: Any, text: Callable[[Tensor, str], str]) -> None:
        """Give a call's tensors their texts, by the tensor and its place in the result."""
        if isinstance(made, Tensor):
            self._texts[id(made)] = text(made, "")
        elif isinstance(made, list | tuple):
            for k, tensor in enumerate(made):
                if isinstance(tensor, Tensor):
                    self._texts[id(tensor)] = text(tensor, f"[{k}]")
        else:  # a number: what follows may depend on it
            raise _Refused

    def play(self, results: Sequence[Tensor]) -> Play:
        """A function of the inputs that calls the same and returns the same."""
        returned: set[str] = set()
        told = self._text(list(results), returned)
        constants: dict[str, Any] = {}  # made of nothing but such, and not written
        for call in self._calls:
            owner = self._owners.get(call.result, call.result)
            if not call.writes and call.needs <= constants.keys() and owner not in self._written:
                constants[call.result] = call.made
        needed, calls = set(returned), list[_Call]()
        for call in reversed(self._calls):
            if call.result not in constants and (call.result in needed or call.writes):
                needed |= call.needs
                calls.append(call)
        lines = [f"def play({', '.join(self._inputs)}):"]
        lines += [f"    {line}" for line in _lines(calls[::-1], returned)]
        lines += [f"    return {told}"]
        # Tensors have the gradients' history of the call that was written down: their memory is all that is wanted.
        names = tree_map_only(Tensor, Tensor.detach, {**self._names, **constants})
        exec("\n".join(lines), names)
        return names["play"]

    def _text(self, value: Any, needs: set[str]) -> str:
        """Source text for an argument; the names in it are added to the needs."""
        if isinstance(value, Tensor):
            if id(value) not in self._texts:
                self._alive.append(value)
                self._texts[id(value)] = self._named("h", value)
            text = self._texts[id(value)]
            needs.add(text.partition("[")[0])
            return text
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._text(each, needs) for each in value)}]"
        if value is None or isinstance(value, bool | int):
            return repr(value)
        return self._named("o", value)

    def _named(self, kind: str, value: Any) -> str:
        name = f"{kind}{len(self._names)}"
        self._names[name] = value
        return name


def _lines(calls: Sequence[_Call], returned: set[str]) -> Iterator[str]:
    """The calls as source; what is not needed any more is let go at once, as without a tape."""
    made = {call.result for call in calls} - returned
    last = {name: k for k, call in enumerate(calls) for name in call.needs}
    for k, call in enumerate(calls):
        yield f"{call.result} = {call.function}({call.arguments})"
        done = sorted(name for name in call.needs & made if last[name] == k)
        if done:
            yield f"{' = '.join(done)} = None"


def _masked(name: str, args: Sequence[Any]) -> bool:
    """Whether a call picks values by a mask: how many depends on it."""
    indices: Any = args[1] if name.startswith("aten::index") and len(args) > 1 else ()
    return isinstance(indices, list | tuple) and any(
        isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices
    )


def _shows_all(view: Tensor, of: Any) -> bool:
    """Whether a view is but another name: it shows all of a tensor, as it is."""
    same = isinstance(of, Tensor) and view.shape == of.shape and view.stride() == of.stride()
    return same and view.dtype == of.dtype and view.storage_offset() == of.storage_offset()


def _same_values(a: Tensor, b: Tensor) -> bool:
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.device.type != "cpu":
        return torch.allclose(a, b, rtol=TOLERANCE_OF_DEVICES, atol=TOLERANCE_OF_DEVICES, equal_nan=True)
    return a.is_contiguous() == b.is_contiguous() and torch.allclose(a, b, rtol=0.0, atol=0.0, equal_nan=True)
