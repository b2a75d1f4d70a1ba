"""How many CPUs a process may use: control groups of both versions, as containers show them."""

import math
from pathlib import Path

import pytest

from anytile import cpus

V2 = "31 23 0:27 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 {beginning} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n"
)


@pytest.fixture
def system(tmp_path):
    """``system(mounts, groups, files)``: the root of a file system that says so."""

    def make(mounts, groups, files):
        for name, text in {"proc/self/mountinfo": mounts, "proc/self/cgroup": groups, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def v1(folder, quota, period=100000):
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


def test_a_container_sees_its_own_group_as_the_root(system):
    assert cpus.quota(system(V2, "0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"})) == 2


def test_no_limit(system):
    assert cpus.quota(system(V2, "0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"})) is None
    assert cpus.quota(system(V1.format(beginning="/"), "4:cpu,cpuacct:/\n", v1("sys/fs/cgroup/cpu,cpuacct", -1))) is None
    assert cpus.quota(Path("/nowhere")) is None


def test_groups_above_count(system):
    files = {"sys/fs/cgroup/a.slice/cpu.max": "150000 100000", "sys/fs/cgroup/a.slice/b.scope/cpu.max": "400000 100000"}
    assert cpus.quota(system(V2, "0::/a.slice/b.scope\n", files)) == 1.5


def test_a_path_of_the_hosts_that_is_not_mounted_here(system):
    assert cpus.quota(system(V2, "0::/../../docker/abc\n", {"sys/fs/cgroup/cpu.max": "300000 100000"})) == 3


def test_version_1(system):
    root = system(V1.format(beginning="/"), "5:cpuset:/\n4:cpu,cpuacct:/jobs/7\n0::/\n", v1("sys/fs/cgroup/cpu,cpuacct/jobs/7", 50000))
    assert cpus.quota(root) == 0.5


def test_version_1_in_a_container_that_is_shown_the_hosts_path(system):
    files = v1("sys/fs/cgroup/cpu,cpuacct", 800000)
    assert cpus.quota(system(V1.format(beginning="/docker/abc"), "4:cpu,cpuacct:/docker/abc\n", files)) == 8
    assert cpus.quota(system(V1.format(beginning="/docker/ab"), "4:cpu,cpuacct:/docker/abc\n", files)) == 8


def test_both_versions_beside_each_other(system):
    mounts = V1.format(beginning="/") + "40 31 0:35 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    assert cpus.quota(system(mounts, "4:cpu,cpuacct:/\n0::/\n", v1("sys/fs/cgroup/cpu,cpuacct", 250000))) == 2.5


@pytest.mark.parametrize(("granted", "mask", "usable"), [(None, 64, 64), (2.0, 64, 2), (1.5, 64, 2), (0.1, 64, 1), (100.0, 16, 16)])
def test_the_least_of_mask_and_quota(monkeypatch, granted, mask, usable):
    monkeypatch.setattr(cpus, "quota", lambda: granted)
    monkeypatch.setattr(cpus, "affinity", lambda: mask)
    assert cpus.usable_cpus() == usable


def test_here():
    assert 1 <= cpus.usable_cpus() <= cpus.affinity()
    assert cpus.quota() is None or 0 < cpus.quota() < math.inf
