"""A notebook in the sandbox: same points for honest work, and nothing of the tests where the student's code is."""

import json
import os
import signal
import subprocess
import sys

import nbformat
import psutil
import pytest
from grading_samples import FULL, as_bytes, code, place
from nbformat.v4 import new_code_cell, new_notebook

from coursekit.grading import assignment, isolated, repair, sandbox
from coursekit.grading.attempt import Given, RunError
from coursekit.grading.build import load_config
from coursekit.grading.course import Course
from coursekit.grading.score import failed_cells, grades

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is for Linux")


@pytest.fixture(scope="module")
def template(built):
    course = Course(built)
    return assignment.load(course, "tiny", load_config(course)).templates["tiny"]


@pytest.fixture
def graded(pool, template):
    """graded(notebook): its run, and {grade id: Grade}."""

    def run(notebook, cell_limit=3.0, time_limit=20.0, **settings):
        repaired = repair.repair(template, as_bytes(notebook))
        done = pool.run(repaired.notebook, skip=repaired.skip, cell_limit=cell_limit, time_limit=time_limit, **settings)
        return done, {grade.id: grade for grade in grades(done, template.stubs)}

    return run


def points(results):
    return {id: grade.score for id, grade in results.items()}


def with_cell(notebook, source, before="test-add"):
    """The notebook with a cell of the student's own."""
    notebook.cells.insert(place(notebook, before), code(source))
    return notebook


def outputs_of(run, id="own"):
    """All that a cell of the student's own has shown."""
    return "".join(
        json.dumps(cell.outputs) for cell in run.notebook.cells if cell.id.startswith(id) and cell.cell_type == "code"
    )


# --- honest work ----------------------------------------------------------------------------------------------------


def test_right_answers_get_full_points_and_twice_the_same_file(graded, filled):
    first, results = graded(filled())
    assert points(results) == FULL
    assert failed_cells(first) == []
    second, _ = graded(filled())
    assert nbformat.writes(first.notebook) == nbformat.writes(second.notebook)


def test_a_slip_costs_its_own_points(graded, filled):
    _, results = graded(filled(add="def add(a, b):\n    return abs(a) + abs(b)", root="def root(x)\n    return 1"))
    assert points(results) == {**FULL, "test-add": 1.0, "test-root": 0.0}
    assert results["test-root"].status == "crashed"
    assert "SyntaxError" in results["test-root"].reason


def test_a_stub_is_not_attempted(graded, filled):
    _, results = graded(filled(add=None))
    assert results["test-add"].status == "not attempted"
    assert points(results) == {**FULL, "test-add": 0.0}


def test_a_test_meets_the_notebook_as_it_is_at_its_place(graded, filled):
    notebook = filled()
    notebook.cells.insert(place(notebook, "test-add") + 1, code("def add(a, b):\n    return 0"))
    _, results = graded(notebook)
    assert points(results) == FULL


def test_what_a_test_does_is_not_seen_by_the_cells_after_it(graded, filled):
    notebook = filled(add="calls = []\ndef add(a, b):\n    calls.append((a, b))\n    return a + b")
    notebook.cells.append(code("print('calls', calls)"))
    run, results = graded(notebook)
    assert points(results) == FULL
    assert "calls []" in outputs_of(run)


def test_noise_is_free(graded, filled):
    source = "import sys, warnings\n\ndef add(a, b):\n    warnings.warn('x')\n    print('hm')\n"
    source += "    print('hm', file=sys.stderr)\n    return a + b"
    _, results = graded(filled(add=source))
    assert points(results) == FULL


# --- harm -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("import os\n    os._exit(0)", "died"),
        ("import ctypes\n    ctypes.string_at(0)", "died"),
        ("import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)", "died"),
        ("while True:\n        pass", "timed out"),
        ("raise SystemExit", "crashed"),
    ],
)
def test_a_call_that_does_harm_costs_its_own_question(graded, filled, body, status):
    _, results = graded(filled(double=f"def double(x):\n    {body}"), cell_limit=2.0)
    assert points(results) == {**FULL, "test-double": 0.0}
    assert results["test-double"].status == status


STUBBORN = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"


@pytest.mark.parametrize("source", ["import os\nos._exit(1)", STUBBORN])
def test_a_cell_that_does_harm_costs_nothing(graded, filled, source):
    run, results = graded(with_cell(filled(), source), cell_limit=1.0)
    assert points(results) == FULL
    assert len(failed_cells(run)) == 1


def test_tests_before_the_time_was_used_up_still_count(graded, filled):
    notebook = with_cell(filled(), "import time\ntime.sleep(60)", before="double")
    _, results = graded(notebook, cell_limit=30.0, time_limit=2.0)
    assert points(results) == {"test-add": 2.0, "test-double": 0.0, "test-root": 0.0, "why": None}
    assert results["test-double"].reason.startswith("not reached")


def test_nothing_is_left_running(graded, filled):
    source = (
        "import os, sys, subprocess\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)', "
        "'left-behind-by-a-student'], start_new_session=True)\n"
        "if os.fork() == 0:\n    os.setsid()\n    while True: pass"
    )
    before = {process.pid for process in psutil.process_iter()}
    _, results = graded(with_cell(filled(), source))
    assert points(results) == FULL
    new = [process for process in psutil.process_iter() if process.pid not in before]
    assert not [process for process in new if "left-behind" in " ".join(process.cmdline())]
    assert len({process.pid for process in psutil.Process().children(recursive=True)} - before) == 0


# --- reading and forging --------------------------------------------------------------------------------------------

SEARCH = """
import re
wanted = re.compile(rb"[a]dds negative number[s]")     # a hidden case's title, such that it is not itself in memory
found = 0
with open("/proc/self/mem", "rb") as memory:
    for line in open("/proc/self/maps"):
        start, end, rights = re.match(r"([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
        if rights.startswith("rw"):
            memory.seek(int(start, 16))
            try:
                found += len(wanted.findall(memory.read(int(end, 16) - int(start, 16))))
            except OSError:
                pass
"""


def test_no_hidden_test_is_in_the_students_memory(graded, filled):
    body = f"exec({SEARCH!r}, globals())\n    assert found == 0, found\n    return a + b"
    notebook = filled(add=f"def add(a, b):\n    {body}")
    notebook.cells.append(code(SEARCH + "print('found', found, 'times')"))
    run, results = graded(notebook, cell_limit=20.0)
    assert points(results) == FULL
    assert "found 0 times" in outputs_of(run)


def test_hidden_inputs_cannot_be_shown(graded, filled):
    source = (
        "import os, sys\nshared = []\ndef add(a, b):\n    shared.append((a, b))\n"
        "    open('/box/tmp/seen', 'a').write(f'saw {a} {b};')\n    print('saw', a, b)\n    os.write(2, b'saw -1 -2')\n"
        "    return a + b"
    )
    notebook = filled(add=source)
    look = (
        "import glob, time\ntime.sleep(0.5)\nprint(shared, [open(path).read() for path in glob.glob('/box/tmp/seen')])"
    )
    notebook.cells.append(code(look))
    run, results = graded(notebook)
    assert points(results) == FULL
    student_cells = [cell for cell in run.notebook.cells if not cell.id.startswith("test-")]
    assert "saw" not in json.dumps([cell.get("outputs", []) for cell in student_cells])


def test_the_tests_names_are_the_courses(graded, filled):
    source = "class Exercise:\n    def __init__(self, *a, **k): pass\ndef exercise(*a): return 99\nprint = len = None"
    _, results = graded(with_cell(filled(add="def add(a, b):\n    return 0"), source))
    assert points(results) == {**FULL, "test-add": 0.0}


def test_a_score_in_a_cell_of_ones_own_is_no_score(graded, filled):
    bundle = {"points": 2.0, "max": 2.0, "status": "passed", "reason": "", "cases": []}
    source = "from IPython.display import display\n"
    source += f"display({{'application/vnd.coursekit.score+json': {bundle}}}, raw=True)\n2.0"
    _, results = graded(with_cell(filled(add="def add(a, b):\n    return 0"), source))
    assert points(results) == {**FULL, "test-add": 0.0}


def test_an_answer_that_equals_everything_is_not_right(graded, filled):
    source = "class Any:\n    __eq__ = lambda self, other: True\n    __ne__ = lambda self, other: False\n"
    _, results = graded(filled(add=source + "def add(a, b):\n    return Any()"))
    assert points(results) == {**FULL, "test-add": 0.0}


def test_broken_ground_under_the_tests_is_not_broken_ground_for_the_examiner(graded, filled):
    source = "import builtins, math\nmath.sqrt = lambda x: 3.0\n"
    source += "builtins.round = lambda *a: 1.414214"
    _, results = graded(with_cell(filled(root="def root(x):\n    return 3.0"), source))
    assert results["test-root"].score == 1.0  # root(9), and nothing else


FRAMES = """
import os, socket, struct, json
for number in range(3, 200):
    try:
        line = socket.socket(fileno=os.dup(number))
        text = json.dumps(["dict", ["value", 3], ["error", ""], ["changed", ["list"]]]).encode()
        line.setblocking(False)
        for _ in range(50):
            line.send(struct.pack("!QQ", len(text), 0) + text)
    except Exception:
        pass
    try:
        os.write(number, json.dumps({"event": "end", "cell": "test-add", "ok": True, "error": ""}).encode() + b"\\n")
        os.write(number, json.dumps({"ended": 0}).encode() + b"\\n")
    except Exception:
        pass
"""


def test_forged_messages_are_at_most_a_wrong_answer(graded, filled):
    notebook = with_cell(filled(add="def add(a, b):\n    return 0", double="def double(x):\n    return 0"), FRAMES)
    _, results = graded(notebook)
    assert results["test-add"].score < 2.0
    assert results["test-double"].score == 0.0


# --- what there is to see in the sandbox ------------------------------------------------------------------------------

LOOK = """
import os, socket, subprocess
print("processes", sorted(int(name) for name in os.listdir("/proc") if name.isdigit())[:2])
for path in (%r, "/etc/passwd", "/etc/shadow", "/home", "/var", "/host-proc/1"):
    print("there" if os.path.exists(path) else "absent", path)
for target in ("/", "/usr", "/etc", "/dev", "/proc/sys/kernel", os.path.dirname(os.__file__)):
    try:
        open(os.path.join(target, "written"), "w")
        print("wrote", target)
    except OSError as error:
        print("refused", target)
try:
    socket.create_connection(("127.0.0.1", 80), 1)
except OSError as error:
    print("network:", error)
print("capabilities", [line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
print("secret", os.environ.get("COURSEKIT_TEST_SECRET"))
"""


def test_there_is_nothing_of_the_machine_in_the_sandbox(graded, filled, built, monkeypatch):
    monkeypatch.setenv("COURSEKIT_TEST_SECRET", "secret value")
    run, results = graded(with_cell(filled(), LOOK % str(built)))
    shown = outputs_of(run)
    assert points(results) == FULL
    assert "processes [1, 2]" in shown
    assert "there" not in shown
    assert "wrote" not in shown
    assert "network: [Errno 101]" in shown
    assert "capabilities ['0000000000000000']" in shown
    assert "secret value" not in shown


def test_submissions_do_not_meet(graded, filled):
    leave = "for path in ('/box/tmp', '/dev/shm'):\n    open(path + '/left', 'w').write('x')"
    look = "import os\nprint([os.path.exists(path + '/left') for path in ('/box/tmp', '/dev/shm', '/tmp')])"
    left, _ = graded(with_cell(filled(), leave))
    assert "Error" not in outputs_of(left)
    run, _ = graded(with_cell(filled(), look))
    assert "[False, False, False]" in outputs_of(run)


def test_files_beside_the_notebook_are_there_and_the_courses_come_first(graded, filled, tmp_path):
    for name in ("own.txt", "both.txt"):
        (tmp_path / name).write_text(f"{name} of the student")
    (tmp_path / "course.txt").write_text("both.txt of the course")
    run, _ = graded(
        with_cell(filled(), "print(open('data/own.txt').read(), open('both.txt').read())"),
        files=[("data/own.txt", tmp_path / "own.txt"), ("both.txt", tmp_path / "both.txt")],
        given=Given(files=(("both.txt", tmp_path / "course.txt"),)),
    )
    assert "own.txt of the student both.txt of the course" in outputs_of(run)


# --- tests of other kinds ---------------------------------------------------------------------------------------------


def plain(*cells):
    """A notebook of (source, kind) pairs: "own", "locked" or "test"."""
    settings = {
        "own": None,
        "locked": {"grade": False, "solution": False, "locked": True},
        "test": {"grade": True, "solution": False, "locked": True, "points": 1},
    }
    notebook = new_notebook()
    for number, (source, kind) in enumerate(cells):
        cell = new_code_cell(source, id=f"{kind}-{number}")
        if settings[kind] is not None:
            cell.metadata.nbgrader = {**settings[kind], "grade_id": cell.id}
        notebook.cells.append(cell)
    return notebook


def scores(pool, notebook, **settings):
    return [(grade.score, grade.status) for grade in grades(pool.run(notebook, cell_limit=5.0, **settings), {})]


def test_plain_asserts_ask_the_student_by_value(pool):
    notebook = plain(
        ("import math as m\nSCALE = 2", "locked"),
        (
            "answer = [1, 2]\ndef f(x):\n    if x < 0:\n        raise ValueError('below zero')\n    return SCALE * x",
            "own",
        ),
        ("assert f(3) == 6\nassert answer == [1, 2]\nassert m.pi > SCALE", "test"),
        (
            "try:\n    f(-1)\nexcept ValueError as error:\n    assert 'below' in str(error)\nelse:\n    assert False",
            "test",
        ),
        ("assert f(1) == 3", "test"),
        ("0.5", "test"),
        ("assert g(1) == 3", "test"),
    )
    passed, wrong = (1.0, "passed"), (0.0, "wrong")
    assert scores(pool, notebook) == [passed, passed, wrong, (0.5, "partial"), (0.0, "crashed")]


def test_imports_of_the_released_cells_are_there_for_the_tests(pool):
    notebook = plain(("pass", "own"), ("assert np.ones(2).sum() == 2", "test"))
    assert scores(pool, notebook) == [(0.0, "crashed")]
    assert scores(pool, notebook, given=Given(imports=("import numpy as np",))) == [(1.0, "passed")]


def test_a_test_that_hands_over_a_function_is_a_mistake_of_the_tests(pool):
    notebook = plain(("def f(g):\n    return g(1)", "own"), ("assert f(lambda x: x) == 1", "test"))
    assert scores(pool, notebook) == [(None, "error")]


def test_a_test_that_never_ends_costs_the_others_nothing(pool, monkeypatch):
    monkeypatch.setattr(isolated, "CHECK_GRACE", -3.0)
    notebook = plain(
        ("def f(x):\n    return 10**30", "own"),
        ("assert f(0) > 1", "test"),
        ("assert sum(range(f(0))) > 0", "test"),
        ("assert f(0) > 2", "test"),
    )
    assert scores(pool, notebook) == [(1.0, "passed"), (None, "error"), (1.0, "passed")]


def test_a_locked_cell_is_judged_without_the_students_tricks(pool):
    notebook = plain(
        ("import builtins\nbuiltins.abs = None", "own"), ("SIZE = abs(-2)", "locked"), ("assert SIZE == 2", "test")
    )
    assert scores(pool, notebook) == [(1.0, "passed")]
    broken = plain(("import no_such_module", "locked"), ("assert True is False", "test"))
    assert scores(pool, broken) == [(None, "error")]


# --- failures of ours -------------------------------------------------------------------------------------------------


def zygotes():
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.Error:  # gone meanwhile
            continue
        if "coursekit.grading.inside.zygote" in command and command[0].endswith("bwrap"):
            found.append(process)
    return found


@pytest.mark.slow
def test_a_killed_zygote_is_an_error_of_ours_and_comes_back(filled, template):
    repaired = repair.repair(template, as_bytes(with_cell(filled(), "import time\ntime.sleep(1)")))
    with isolated.Pool() as pool:
        pool.run(repaired.notebook, skip=repaired.skip)
        for process in zygotes():
            os.kill(process.pid, signal.SIGKILL)
        try:
            run = pool.run(repaired.notebook, skip=repaired.skip)
        except RunError:
            run = pool.run(repaired.notebook, skip=repaired.skip)
        assert {grade.id: grade.score for grade in grades(run, template.stubs)} == FULL
    assert not zygotes()


@pytest.mark.slow
def test_without_namespaces_within_the_sandbox_it_works_too(filled, template, monkeypatch):
    monkeypatch.setattr(sandbox, "nesting", lambda: False)
    repaired = repair.repair(template, as_bytes(with_cell(filled(), LOOK % "/home")))
    with isolated.Pool() as pool:
        run = pool.run(repaired.notebook, skip=repaired.skip)
    assert {grade.id: grade.score for grade in grades(run, template.stubs)} == FULL
    assert "wrote" not in outputs_of(run)
    assert "network: [Errno 111]" in outputs_of(run)  # its own loopback, and nothing else


def test_without_a_sandbox_it_says_why_and_what_to_do(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(sandbox.Unavailable, match=r"not installed.*apt-get install bubblewrap"):
        isolated.Pool()


def test_everything_ends_with_the_grader(tmp_path):
    """SIGKILL for the controlling process: the sandboxes end with it."""
    script = "import time; from coursekit.grading import isolated; pool = isolated.Pool(); pool.wait(); "
    script += "print('up', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "up\n"
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=30)
        assert not alive
