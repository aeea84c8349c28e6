"""Events of a trial on disk."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maestune.campaign.events import EventLog, event_line, parse_events


def constants(text):
    raise AssertionError(f"{text} is no strict JSON")


@given(
    st.recursive(
        st.none() | st.floats() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_lines_are_strict_json_and_name_what_is_not_finite(tree):
    line = event_line({"kind": "signals", "signals": tree})
    entry = json.loads(line, parse_constant=constants)
    assert line.count(b"\n") == 1
    for pointer, kind in entry.get("nonfinite", {}).items():
        node, original = entry, {"signals": tree}
        for key in (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]):
            node = node[int(key)] if isinstance(node, list) else node[key]
            original = original[int(key)] if isinstance(original, list) else original[key]
        assert node is None
        assert str(original) == kind
        assert not math.isfinite(original)


def log(path, *steps):
    events = EventLog(path)
    for step in steps:
        events.append({"kind": "signals", "step": step, "signals": {"loss": math.nan}})
    events.close()
    return events


def steps(path):
    return [entry["step"] for entry in parse_events(path.read_bytes()).entries]


def test_an_event_is_on_disk_as_soon_as_it_is_told(tmp_path):
    path = tmp_path / "0000" / "events.jsonl"
    events = EventLog(path)
    events.append({"kind": "signals", "step": 1})
    assert steps(path) == [1]
    events.close()


@pytest.mark.parametrize("rest", [b'{"kind": "signals", "st', b"\x00\x00\x00", b'{"kind": 1}}\n', b"\n", b"[1]\n"])
def test_a_damaged_last_line_is_dropped_with_a_note(tmp_path, rest):
    path = tmp_path / "0003" / "events.jsonl"
    log(path, 1, 2)
    with path.open("ab") as file:
        file.write(rest)
    again = log(path, 2, 3)
    assert again.problems[-1] == "0003/events.jsonl: the last line was damaged, as by a killed process, and is dropped"
    assert steps(path) == [1, 2, 3]


def test_a_damaged_line_elsewhere_is_named_and_stays(tmp_path):
    path = tmp_path / "0003" / "events.jsonl"
    log(path, 1)
    with path.open("ab") as file:
        file.write(b"{oops\n")
    content = path.read_bytes() + event_line({"kind": "signals", "step": 2})
    path.write_bytes(content)
    again = log(path, 3)
    assert again.problems == ("0003/events.jsonl: line 2 is damaged and left out",)
    assert path.read_bytes().startswith(content)
    assert steps(path) == [1, 2, 3]
