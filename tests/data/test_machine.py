from __future__ import annotations

from pathlib import Path

import pytest

from maestune.data import machine
from maestune.data.machine import cache_folder, free_memory_bytes


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("MAESTUNE_CACHE", raising=False)
    assert cache_folder() == Path("/x/maestune")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "maestune"
    monkeypatch.setenv("MAESTUNE_CACHE", "~/kept")
    assert cache_folder() == Path.home() / "kept"


def test_free_memory_is_what_can_be_filled() -> None:
    psutil = pytest.importorskip("psutil")
    memory = psutil.virtual_memory()
    assert 0 <= free_memory_bytes() <= memory.total
    if not Path("/sys/fs/cgroup/memory.max").exists():
        assert free_memory_bytes() == pytest.approx(memory.available, rel=0.5)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable: 8000 kB\n"}, 8_000 * 1024),
        (
            {
                "proc/meminfo": "MemAvailable: 8000 kB\n",
                "sys/fs/cgroup/memory.max": "5000\n",
                "sys/fs/cgroup/memory.current": "4000\n",
                "sys/fs/cgroup/memory.stat": "anon 1\ninactive_file 2500\nfile 3\n",
            },
            3_500,  # what was read from files is given back
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 8000 kB\n",
                "sys/fs/cgroup/memory.max": "max\n",
                "sys/fs/cgroup/memory.current": "4000\n",
                "sys/fs/cgroup/memory.stat": "inactive_file 2500\n",
            },
            8_000 * 1024,
        ),
        (
            {
                "proc/meminfo": "MemAvailable: 8000 kB\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "700\n",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "900\n",
                "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 100\n",
            },
            0,
        ),
    ],
)
def test_limits_of_a_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(machine, "Path", lambda *parts: tmp_path.joinpath(*(p.removeprefix("/") for p in parts)))
    assert free_memory_bytes() == expected


def test_where_nothing_tells_what_is_free_it_is_all_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    psutil = pytest.importorskip("psutil")
    monkeypatch.setattr(machine, "Path", lambda *parts: tmp_path / "nowhere")
    assert free_memory_bytes() == pytest.approx(psutil.virtual_memory().total, rel=0.01)
