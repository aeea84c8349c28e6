"""Any space, for property tests."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from maestune.space import Choice, Float, Int, Param, Prior, Role, Space

seeds = st.integers(0, 2**32 - 1)
confidences = st.sampled_from(["low", "medium", "high"])


@st.composite
def params(draw: st.DrawFn, name: str) -> Param:
    """Any parameter, without conditions."""
    kind = draw(st.sampled_from(["linear", "log", "logit", "int", "logint", "choice", "ordered"]))
    role = draw(st.sampled_from(list(Role)))
    if kind in ("linear", "log", "logit"):
        low = {"linear": -3.0, "log": 1e-5, "logit": 0.1}[kind] * draw(st.sampled_from([1.0, 0.5]))
        high = {"linear": 5.0, "log": 0.1, "logit": 0.999}[kind]
        off = draw(st.sampled_from([None, -100.0 if kind == "linear" else 0.0]))
        param: Param = Float(name, low, high, scale=kind, off=off, role=role)  # type: ignore[arg-type]
    elif kind in ("int", "logint"):
        low = draw(st.integers(1, 9))
        param = Int(name, low, low + draw(st.integers(0, 40)), scale="log" if kind == "logint" else "linear", role=role)
    elif kind == "ordered":
        param = Choice(name, tuple(range(draw(st.integers(1, 4)), 6)), ordered=True, role=role)
    else:
        param = Choice(
            name, tuple("abcd"[: draw(st.integers(1, 4))]), role=role, unit=draw(st.sampled_from(["", "px"]))
        )
    if draw(st.booleans()):
        centre = param.from_unit(draw(st.floats(0, 1)))
        param = replace(param, prior=Prior(centre, draw(confidences), draw(st.sampled_from(["", "Someone 2020"]))))
    return param


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    """Any space: up to six parameters, each perhaps active only with certain values of an earlier choice."""
    made: list[Param] = []
    for i in range(draw(st.integers(1, 6))):
        param = draw(params(f"p{i}"))
        parents = [p for p in made if isinstance(p, Choice)]
        if parents and draw(st.booleans()):
            parent = draw(st.sampled_from(parents))
            allowed = draw(st.lists(st.sampled_from(parent.values), min_size=1, unique=True))
            param = replace(param, when={parent.name: tuple(allowed)})
        made.append(param)
    return Space(tuple(made))
