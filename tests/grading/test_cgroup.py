"""Bounds that the kernel keeps for a submission: real groups and real processes, where this machine has them."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from coursekit.grading.sandbox import cgroup

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups are a thing of Linux")

ROOT = Path(__file__).parents[2]
MB = 1024**2
# Waits to be put into a group, does something, and says so.
WAIT = "import os, sys\nsys.stdin.readline()\n"


@pytest.fixture
def group():
    """group(memory, processes): a control group that is removed afterwards."""
    if reason := cgroup.why_not():
        pytest.skip(f"elsewhere: {reason}")
    made = []

    def make(memory=256 * MB, processes=64):
        made.append(cgroup.create(memory, processes))
        return made[-1]

    yield make
    for one in made:
        one.remove()


def run_in(group, script):
    """Run a script in the group. Returns (exit code, what it printed)."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", WAIT + textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    group.add(process.pid)
    said, _ = process.communicate("\n", timeout=60)
    return process.returncode, said.strip()


def folders():
    """All groups that this process has made."""
    where = cgroup.hierarchy()
    assert where is not None
    mine = f"{cgroup.PREFIX}{os.getpid()}-*[0-9]"
    return {path for folder in where.folders.values() for path in folder.glob(mine)}


def test_what_stays_within_its_bounds_is_left_alone(group):
    bounded = group(memory=256 * MB)
    assert run_in(bounded, "x = bytearray(b'x') * (64 << 20)\nprint('done')") == (0, "done")
    assert not bounded.out_of_memory()


def test_memory_is_bounded(group):
    bounded = group(memory=64 * MB)
    code, said = run_in(bounded, "x = bytearray(b'x') * (256 << 20)\nprint('done')")
    assert (code, said) == (-9, "")
    assert bounded.out_of_memory()


def test_memory_of_all_processes_together_is_bounded(group):
    bounded = group(memory=64 * MB)
    run_in(
        bounded,
        """
        for _ in range(8):
            if os.fork() == 0:
                x = bytearray(b'x') * (24 << 20)
                import time
                time.sleep(0.5)
                os._exit(0)
        for _ in range(8):
            os.wait()
        """,
    )
    assert bounded.out_of_memory()


@pytest.mark.parametrize(
    "keep", ["mmap.mmap(-1, 256 << 20).write(bytes(256 << 20))", "os.write(os.memfd_create('x'), bytes(256 << 20))"]
)
def test_memory_that_no_process_holds_for_itself_counts(group, keep):
    bounded = group(memory=64 * MB)
    code, _ = run_in(bounded, f"import mmap\n{keep}\nprint('done')")
    assert code == -9
    assert bounded.out_of_memory()


def test_memory_from_before_does_not_count(group):
    """As with a zygote, whose pages its children share."""
    bounded = group(memory=32 * MB)
    before = WAIT.replace("sys.stdin", "x = bytearray(b'x') * (64 << 20)\nsys.stdin")
    process = subprocess.Popen([sys.executable, "-S", "-c", f"{before}\nos._exit(x[-1])"], stdin=subprocess.PIPE)
    with process:
        wait_for_memory(process.pid, 64 * MB)
        bounded.add(process.pid)
        process.communicate(b"\n", timeout=60)
    assert process.returncode == ord("x")
    assert not bounded.out_of_memory()


def wait_for_memory(pid, size):
    while int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") < size:
        pass


def test_processes_and_threads_are_bounded(group):
    code, said = run_in(
        group(processes=16),
        """
        import threading, time
        def start():
            try:
                for _ in range(200):
                    if os.fork() == 0:
                        time.sleep(0.5)
                        os._exit(0)
                    print("process", flush=True)
            except OSError as error:
                print("refused", error.errno, flush=True)

        start()
        try:
            threading.Thread(target=print, args=["thread"]).start()
        except RuntimeError:
            print("no thread")
        """,
    )
    lines = said.splitlines()
    assert lines.count("process") == 15
    assert lines[-2:] == ["refused 11", "no thread"]
    assert code == 0


def test_a_group_is_removed_as_soon_as_its_processes_are_gone(group):
    bounded = group()
    before = folders()
    assert before
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    bounded.add(process.pid)
    bounded.remove(patience=0.05)
    assert folders() == before  # nobody loses a bound who is still there
    process.kill()
    bounded.remove()  # before anybody has waited for it
    process.wait()
    assert not folders()
    bounded.remove()  # twice does no harm


def test_a_group_whose_processes_take_long_to_be_gone_is_removed_later(group):
    bounded = group()
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    bounded.add(process.pid)
    lasting = folders()
    bounded.remove(patience=0)
    process.kill()
    process.wait()
    group()
    assert not folders() & lasting


def test_what_a_killed_grader_left_behind_is_removed(group):
    where = cgroup.hierarchy()
    left = {folder / f"{cgroup.PREFIX}{dead_process()}-0" for folder in where.folders.values()}
    other = next(iter(where.folders.values())) / f"{cgroup.PREFIX}{os.getppid()}-0"  # of somebody who is alive
    for folder in [*left, other]:
        folder.mkdir()
    try:
        group()
        assert not any(folder.exists() for folder in left)
        assert other.exists()
    finally:
        for folder in [*left, other]:
            with contextlib.suppress(OSError):
                folder.rmdir()


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-S", "-c", ""]) as process:
        return process.pid


def test_who_may_not_make_a_group_is_told_so_and_goes_without():
    script = """
        from coursekit.grading.sandbox import cgroup
        if os.getuid() == 0:
            os.setuid(65534)
        group = cgroup.create(1 << 30, 64)
        print(json.dumps([group is None, cgroup.why_not()]))
        if group is not None:
            group.remove()
    """
    none, reason = run_python(script)
    assert none == bool(reason)
    assert none or os.getuid() != 0
    assert reason.startswith(("no control group can be made in /", "the machine has no control groups")) == none


def run_python(script):
    """Run a script that may import the package. Returns what it prints, read as JSON."""
    imports = "import json, os, subprocess, sys\nfrom pathlib import Path\n"
    done = subprocess.run(
        [sys.executable, "-c", imports + textwrap.dedent(script)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# --- version 2, where a group that has processes in it hands nothing on ----------------------------------------------


@pytest.fixture
def delegated():
    """(a group of version 2 as systemd delegates one, the controllers that it was given)."""
    mounts = [place for name, _, place in cgroup._mounts(Path("/proc/self/mountinfo").read_text()) if not name]
    if not mounts or not os.access(mounts[0] / "cgroup.subtree_control", os.W_OK) or os.getuid() != 0:
        pytest.skip("elsewhere: no right to make groups of version 2 here")
    top = mounts[0]
    switch = top / "cgroup.subtree_control"
    before, there_are = switch.read_text().split(), (top / "cgroup.controllers").read_text().split()
    wanted = [name for name in (*cgroup.NEEDED, "hugetlb") if name in there_are]
    if not wanted:
        pytest.skip("elsewhere: no controllers in version 2 here")
    added = [name for name in wanted if name not in before]
    folder = top / f"{cgroup.PREFIX}{os.getpid()}-delegated"
    with contextlib.suppress(OSError):
        switch.write_text(" ".join(f"+{name}" for name in added))
    folder.mkdir()
    try:
        yield folder, (folder / "cgroup.controllers").read_text().split()
    finally:
        for path in [*folder.glob("*/"), folder]:
            path.rmdir()
        switch.write_text(" ".join(f"-{name}" for name in added))


def enter(folder):
    """Lines of a script that go there."""
    return f"folder = Path({str(folder)!r})\n(folder / 'cgroup.procs').write_text(str(os.getpid()))\n"


def test_a_group_hands_on_what_it_was_given_when_its_processes_have_stepped_aside(delegated):
    folder, controllers = delegated
    handed_on, own, child = run_python(
        enter(folder)
        + f"""
from coursekit.grading.sandbox import cgroup
child = subprocess.Popen(["sleep", "60"])
for _ in range(2):  # the second time nothing is left to be done
    cgroup.hand_on(folder, {tuple(controllers)})
groups = [dict(cgroup._paths(Path(f"/proc/{{pid}}/cgroup").read_text()))[""].name for pid in (os.getpid(), child.pid)]
child.kill()
child.wait()
print(json.dumps([(folder / "cgroup.subtree_control").read_text().split(), *groups]))
"""
    )
    assert sorted(handed_on) == sorted(controllers)
    assert own == child
    assert own.startswith(cgroup.PREFIX)
    assert own.endswith(cgroup.GRADER)


def test_nobody_else_is_moved_out_of_a_group(delegated):
    folder, controllers = delegated
    with subprocess.Popen(["sleep", "60"]) as other:
        (folder / "cgroup.procs").write_text(str(other.pid))
        reason, inside = run_python(
            enter(folder)
            + f"""
from coursekit.grading.sandbox import cgroup
try:
    cgroup.hand_on(folder, {tuple(controllers)})
except OSError as error:
    print(json.dumps([error.strerror, [path.name for path in folder.glob("*/")]]))
"""
        )
        other.kill()
    assert reason == "other processes are in it, too"
    assert inside == []


def test_bounds_in_a_delegated_group(delegated):
    folder, controllers = delegated
    if not set(cgroup.NEEDED) <= set(controllers):
        pytest.skip("elsewhere: memory and processes are not bounded by version 2 here")
    first, second, third = run_python(
        enter(folder)
        + """
from coursekit.grading.sandbox import cgroup

EAT = "import sys; sys.stdin.readline(); x = bytearray(b'x') * (200 << 20)"
FORK = "import os, sys; sys.stdin.readline(); n = [os.fork() or os._exit(0) for _ in range(100)]"

def end(group, script):
    child = subprocess.Popen([sys.executable, "-S", "-c", script], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    group.add(child.pid)
    _, said = child.communicate(b"\\n")
    return [child.returncode, group.out_of_memory(), said.decode()[-50:]]

groups = [cgroup.create(64 << 20, 8), cgroup.create(1 << 30, 8)]
results = [end(groups[0], EAT), end(groups[1], EAT), end(groups[1], FORK)]
for group in groups:
    group.remove()
print(json.dumps(results))
"""
    )
    assert first[:2] == [-9, True]
    assert second[:2] == [0, False]
    assert third[:2] == [1, False]
    assert "Errno 11" in third[2]
    assert [path.name for path in folder.glob("*/") if not path.name.endswith(cgroup.GRADER)] == []


# --- where the groups are --------------------------------------------------------------------------------------------

V1 = """\
33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 {root} /sys/fs/cgroup/pids rw,relatime shared:9 - cgroup cgroup rw,pids
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V1_OWN = "9:name=systemd:/a:b\n8:pids:{path}\n4:memory:{path}\n1:cpu,cpuacct:{path}\n0::/user.slice\n"
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
TOP = Path("/sys/fs/cgroup")


@pytest.fixture
def seen(tmp_path):
    """seen(mounts, own): the hierarchy that a process with these files in /proc is in."""

    def find(mounts, own):
        (tmp_path / "mountinfo").write_text("22 1 0:20 / / rw - ext4 /dev/vda rw\n" + mounts)
        (tmp_path / "cgroup").write_text(own)
        return cgroup.hierarchy(str(tmp_path / "mountinfo"), str(tmp_path / "cgroup"))

    return find


def test_version_1(seen):
    where = seen(V1.format(root="/"), V1_OWN.format(path="/students"))
    assert where == cgroup.Hierarchy(
        1, {"memory": TOP / "memory/students", "pids": TOP / "pids/students", "cpu": TOP / "cpu,cpuacct/students"}
    )


def test_a_container_that_sees_a_part_of_version_1(seen):
    where = seen(V1.format(root="/docker/abc"), V1_OWN.format(path="/docker/abc/in"))
    assert where.folders["memory"] == TOP / "memory/in"
    hidden = seen(V1.format(root="/docker/abc"), V1_OWN.format(path="/elsewhere"))
    assert hidden.version == 2


def test_version_2(seen):
    own = "/user.slice/user-1000.slice/run-1.scope"
    where = seen(V2, f"0::{own}\n")
    assert where == cgroup.Hierarchy(2, dict.fromkeys(("memory", "pids", "cpu"), TOP / own[1:]))
    aside = seen(V2, f"0::{own}/coursekit-17-grader\n")
    assert aside == where


@pytest.mark.parametrize(("mounts", "own"), [("", "0::/\n"), (V2, ""), (V2, "garbage\n"), ("", "")])
def test_no_groups_at_all(seen, mounts, own):
    assert seen(mounts, own) is None


def test_no_files_about_groups(tmp_path):
    assert cgroup.hierarchy(str(tmp_path / "none"), str(tmp_path / "none")) is None
