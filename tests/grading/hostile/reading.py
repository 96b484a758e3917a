# ruff: noqa: E501 - one line per submission reads as a table
"""Attempts to read what is not the student's: sources, gradebook, other students' work, tests, secrets, hidden inputs.

Secrets are words that begin with one prefix (see `classroom.py`). They stand in the course's sources and hidden tests,
in the environment and home of whoever grades, in the work of the honest students, and in shared memory. What an attack
finds it prints, and no output of a student may hold one. All the answers are right: reading costs nobody points.
"""

from hostile.case import Case, Verdict, at_the_end, in_call, in_cell, part, zero

SEARCH_FILES = """
def search_files(top, seconds):
    until = time.monotonic() + seconds
    for folder, folders, names in os.walk(top):
        folders[:] = [f for f in folders if os.path.join(folder, f) not in ("/proc", "/sys")]
        for name in names:
            if time.monotonic() > until:
                return
            if name.endswith((".py", ".ipynb", ".db", ".html", ".txt", ".json", ".md", ".key", ".env")):
                with quietly, open(os.path.join(folder, name), "rb") as file:
                    search(file.read(1 << 20), os.path.join(folder, name))
"""

# What is in memory: every object that the collector knows, and the strings, bytes and code objects in it.
SEARCH_OBJECTS = """
import gc, types

def search_objects():
    for thing in gc.get_objects():
        with quietly:
            inside = [thing, *gc.get_referents(thing)]
            for piece in inside:
                if isinstance(piece, (str, bytes)) and len(piece) < 1 << 20:
                    search(piece, type(thing))
                if isinstance(piece, types.CodeType):
                    search(repr(piece.co_consts), piece)
"""

# What is in memory below Python: freed objects as well.
SEARCH_MEMORY = """
def search_memory(process="self", seconds=2.0):
    until = time.monotonic() + seconds
    with open(f"/proc/{process}/maps") as maps, open(f"/proc/{process}/mem", "rb", 0) as memory:
        for line in maps:
            parts = line.split()
            if "rw" not in parts[1] or (len(parts) > 5 and parts[5].startswith(("/", "[v"))):
                continue
            start, end = (int(bound, 16) for bound in parts[0].split("-"))
            while start < end and time.monotonic() < until:
                with quietly:
                    memory.seek(start)
                    search(memory.read(min(end - start, 16 << 20)), parts[0])
                start += 16 << 20
"""

SEARCH_FRAMES = """
def search_frames():
    frames = list(sys._current_frames().values())
    for frame in frames:
        while frame is not None:
            for names in (frame.f_locals, frame.f_globals):
                for key, value in list(names.items()):
                    with quietly:
                        search(f"{key} = {value!r}"[:100_000], frame.f_code)
            search(repr(frame.f_code.co_consts), frame.f_code)
            frame = frame.f_back
"""

# Words found in a call can only leave it as a value or as an error, and those the instructor sees, too.
TELL = """
def listen(action):
    import io
    heard = io.StringIO()
    with contextlib.redirect_stdout(heard):
        action()
    return heard.getvalue()
"""

KEEP = "seen = []\n"

CASES: dict[str, Case] = {
    "course-folder": in_cell(
        SEARCH_FILES
        + """
search_files("@COURSE@", 2)
for name in ("gradebook.db", "solutions", "submitted", "autograded", "build", "nbgrader_config.py"):
    with attempt(name):
        os.stat(os.path.join("@COURSE@", name))
""",
        says="refused: gradebook.db",
    ),
    "gradebook": in_cell(
        """
        import sqlite3
        with attempt("reading the gradebook"):
            connection = sqlite3.connect("@COURSE@/gradebook.db")
            print(connection.execute("select * from grade").fetchall())
        with attempt("writing the gradebook"):
            sqlite3.connect("@COURSE@/gradebook.db").execute("update grade set auto_score = 100")
        """,
        says="refused: writing the gradebook",
    ),
    "upwards": in_cell(
        SEARCH_FILES
        + """
up = "."
for _ in range(8):
    up = os.path.join(up, "..")
    for name in ("gradebook.db", "solutions", "submitted", "notebooks", "autograded"):
        if os.path.exists(os.path.join(up, name)):
            escaped(os.path.abspath(os.path.join(up, name)))
search_files("../..", 2)
""",
    ),
    "everywhere": in_cell(SEARCH_FILES + "search_files('/', 2.5)\n"),
    "around-the-package": in_cell(
        SEARCH_FILES
        + """
import coursekit
beside = os.path.dirname(os.path.dirname(coursekit.__file__))
for name in ("solutions", "tests", "notebooks", ".git", "build", "submitted"):
    if os.path.exists(os.path.join(beside, name)):
        escaped(os.path.join(beside, name))
search_files(beside, 2)
""",
    ),
    "home": in_cell(
        SEARCH_FILES
        + """
import pwd
homes = {"@HOME@", "/root", os.path.expanduser("~"), *(entry.pw_dir for entry in pwd.getpwall())} - {"/"}
for home in sorted(homes):
    search_files(home, 0.3)
with attempt("the home of whoever grades"):
    os.listdir("@HOME@")
""",
        says="refused: the home",
    ),
    "environment": in_cell(
        """
        search(repr(os.environ) + repr(sorted(os.environb.items())), "environ")
        search(subprocess.run("env; set; export", shell=True, capture_output=True).stdout, "shell")
        import ctypes
        for process in filter(str.isdigit, os.listdir("/proc")):
            for name in ("environ", "cmdline", "auxv"):
                with quietly:
                    search(open(f"/proc/{process}/{name}", "rb").read(), name)
        """
    ),
    "other-processes": in_cell(
        SEARCH_MEMORY
        + """
others = [process for process in os.listdir("/proc") if process.isdigit() and int(process) != os.getpid()]
print(len(others), "others")
for process in others:
    with attempt(f"memory of {process}"):
        open(f"/proc/{process}/mem", "rb").close()
    with quietly:
        search_memory(process, 0.5)
    for name in ("cwd", "root"):
        with quietly:
            print(process, name, os.readlink(f"/proc/{process}/{name}"))
            for found in os.listdir(f"/proc/{process}/{name}"):
                if found in ("gradebook.db", "solutions", "submitted"):
                    escaped(process, name, found)
    with quietly:
        for descriptor in os.listdir(f"/proc/{process}/fd"):
            with quietly, open(f"/proc/{process}/fd/{descriptor}", "rb", 0) as file:
                os.set_blocking(file.fileno(), False)
                search(file.read(1 << 20) or b"", f"{process} {descriptor}")
""",
        says="others",
    ),
    "own-memory": in_cell(SEARCH_MEMORY + "search_memory()\n"),
    "own-memory-in-a-call": in_call(
        SEARCH_MEMORY
        + TELL
        + """
found = listen(lambda: search_memory(seconds=0.5))
with quietly:
    found += listen(lambda: search_memory(str(os.getppid()), 0.5))
raise ValueError(found)
""",
        zero("crashed", "timed out"),
    ),
    "objects": in_cell(SEARCH_OBJECTS + "search_objects()\n"),
    "objects-in-a-call": in_call(
        SEARCH_OBJECTS + TELL + "raise ValueError(listen(search_objects))\n", zero("crashed", "timed out")
    ),
    "frames": in_cell(SEARCH_FRAMES + "search_frames()\n"),
    "frames-in-a-call": in_call(
        SEARCH_FRAMES + TELL + "raise ValueError(listen(search_frames))\n", zero("crashed", reason="ValueError")
    ),
    "expected-values-in-a-call": in_call(
        # The expected answer of a test is a tensor of the same shape somewhere in memory, or so one hopes.
        """
        import gc
        known = [thing for thing in gc.get_objects() if isinstance(thing, torch.Tensor) and thing.shape == x.shape]
        frame = sys._getframe()
        while frame is not None:
            known += [v for v in frame.f_locals.values() if isinstance(v, torch.Tensor) and v.shape == x.shape]
            frame = frame.f_back
        inside = [k for k in known if k is not x and float(k.min()) >= 0 and float(k.max()) <= 1]
        return inside[0] if inside else x + 0.5
        """,
        Verdict(("wrong", "partial"), (0.0, 1.0)),  # where nothing is to do, a copy of x is right
    ),
    "ipython-history": at_the_end(
        """
        shell = get_ipython()
        heard = []
        shell.events.register("pre_run_cell", lambda info: heard.append(repr(info.raw_cell)))
        shell.events.register("post_run_cell", lambda result: heard.append(repr(result)))
        shell.input_transformers_cleanup.append(lambda lines: heard.append("".join(lines)) or lines)
        """,
        """
        import linecache
        search(repr(heard), "hooks")
        search(repr(shell.history_manager.input_hist_raw) + repr(In) + repr(Out) + repr(_ih), "history")
        search(repr(linecache.cache), "linecache")
        search(repr({k: v for k, v in vars(shell).items() if isinstance(v, (str, list, dict))}), "shell")
        print(len(heard), "heard")
        """,
        says="heard",
    ),
    "audit-and-trace": at_the_end(
        """
        heard = []
        sys.addaudithook(lambda event, arguments: heard.append(repr(arguments)) if event in ("compile", "exec", "open") else None)
        sys.settrace(lambda frame, event, argument: heard.append(repr(frame.f_code.co_consts)))
        threading.setprofile_all_threads(lambda frame, *_: heard.append(repr(frame.f_code.co_consts))) if sys.version_info >= (3, 12) else None
        import ast, builtins
        real_parse, real_exec, real_compile = ast.parse, builtins.exec, builtins.compile
        ast.parse = lambda source, *a, **k: heard.append(repr(source)) or real_parse(source, *a, **k)
        builtins.compile = lambda source, *a, **k: heard.append(repr(source)) or real_compile(source, *a, **k)
        """,
        "sys.settrace(None)\nsearch(repr(heard), 'hooks')\nprint(len(heard) > 0, 'heard')",
        says="True heard",
    ),
    "descriptors": in_cell(
        """
        for descriptor in range(3, 512):
            with quietly:
                kind = os.readlink(f"/proc/self/fd/{descriptor}")
                print("open:", descriptor, kind)
                os.set_blocking(descriptor, False)
                with quietly:
                    search(os.pread(descriptor, 1 << 20, 0), kind)
                if kind.startswith(("socket", "pipe")):
                    with quietly:
                        search(socket.socket(fileno=os.dup(descriptor)).recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT), kind)
                os.set_blocking(descriptor, True)
        """,
    ),
    "the-grader-itself": in_cell(
        """
        from pathlib import Path
        with quietly:
            from coursekit.grading import submissions
            from coursekit.grading.course import Course
            print("students:", submissions.students(Course(Path("@COURSE@")), "robust"))
            escaped("the class")
        for name, module in list(sys.modules.items()):
            if name.startswith("coursekit"):
                search(repr(vars(module)), name)
        """,
    ),
    "shell-commands": in_cell(
        """
        search(repr(get_ipython().getoutput("ps aux; cat /proc/*/cmdline; ls -R / | head -c 1000000")), "commands")
        !cat @COURSE@/gradebook.db @COURSE@/submitted/*/*/* @COURSE@/solutions/*/*
        !find / -name 'gradebook.db' -o -name 'submitted' -not -path '/proc/*' 2>/dev/null
        """,
    ),
    "shared-memory": in_cell(
        """
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        segment = libc.shmget(int("@SHM_KEY@"), 0, 0)
        if segment >= 0:
            address = libc.shmat(segment, None, 0o10000)
            if address not in (None, ctypes.c_void_p(-1).value):
                search(ctypes.string_at(address, 64), "System V shared memory")
            escaped("a segment of System V shared memory")
        for name in os.listdir("/dev/shm"):
            with quietly:
                search(open(f"/dev/shm/{name}", "rb").read(1 << 20), name)
        print("segment", segment)
        """,
        says="segment -1",
    ),
    # --- one student reads what another has left: the first leaves it everywhere, the others look for it
    "left-by-one": at_the_end(
        """
        places = {os.getcwd(), "/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), os.environ.get("TMPDIR", "/tmp")}
        for folder in places:
            with quietly:
                open(f"{folder}/left-behind", "w").write("course" + "secret-@LEFT@")
                print("left in", folder)
        sleeper = threading.Thread(target=time.sleep, args=(600,), daemon=True)
        sleeper.start()
        import random, numpy
        random.seed(12345); numpy.random.seed(12345); torch.manual_seed(12345)
        listener = socket.socket(socket.AF_UNIX)
        with quietly:
            listener.bind("\\0left-behind")
            listener.listen()
        torch.left_behind = "course" + "secret-@LEFT@"
        """,
        "print('left')",
        says="left in",
    ),
    "left-for-the-next": in_cell(
        SEARCH_FILES
        + """
for folder in {os.getcwd(), "/tmp", "/var/tmp", "/dev/shm", os.path.expanduser("~"), os.environ.get("TMPDIR", "/tmp")}:
    if os.path.exists(f"{folder}/left-behind"):
        escaped("a file of another student in", folder)
    search_files(folder, 0.3)
if hasattr(torch, "left_behind"):
    escaped("a module that another student has changed")
with quietly:
    search(open("/proc/net/unix").read(), "sockets")
with attempt("a socket of another student"):
    socket.socket(socket.AF_UNIX).connect("\\0left-behind")
""",
        says="refused: a socket",
    ),
    # --- hidden inputs: the function must see them, the student must not
    "hidden-input-printed": in_call(
        """
        print(x.tolist())
        sys.stderr.write(repr(x.tolist()))
        os.write(1, repr(x.tolist()).encode())
        os.system(f"echo '{x.tolist()}'")
        display(x.tolist())
        return x.clamp(0, 1)
        """,
        Verdict(("passed",), (3.0,)),
    ),
    "hidden-input-in-an-exception": in_call(
        "if x.shape == (2, 3):\n    raise ValueError(x.tolist())\nreturn x.clamp(0, 1)", part(2.0)
    ),
    "hidden-input-kept-and-told-later": in_call(
        # The visible case after the hidden one fails, and its error is shown.
        "torch.kept = getattr(torch, 'kept', '') + str(x.tolist())\nif x.shape == (1, 1):\n    raise ValueError(torch.kept[-150:])\nreturn x.clamp(0, 1)",
        part(2.0),
    ),
    "hidden-input-in-a-value-later": in_call(
        "torch.kept = x if x.shape == (2, 3) else getattr(torch, 'kept', x)\nreturn x.clamp(0, 1) if x.shape != (1, 1) else torch.kept[:1, 1:2]",
        part(2.0),
    ),
    "hidden-input-in-a-file": at_the_end(
        "",
        """
        time.sleep(1.0)
        for folder in (".", "/tmp", "/dev/shm", os.path.expanduser("~")):
            with quietly:
                print("read", open(f"{folder}/kept.txt").read())
        """,
        clip="""
        def clip(x):
            for folder in (".", "/tmp", "/dev/shm", os.path.expanduser("~")):
                with quietly:
                    print(x.tolist(), file=open(f"{folder}/kept.txt", "a"), flush=True)
            return x.clamp(0, 1)
        """,
        fgsm="""
        def fgsm(model, x, y, eps):
            kept = ""
            for folder in (".", "/tmp", "/dev/shm", os.path.expanduser("~")):
                with quietly:
                    kept += open(f"{folder}/kept.txt").read()
            raise ValueError(" ".join(kept.split())[-190:])
        """,
        lost={"test-fgsm": zero("crashed", reason="ValueError")},
        open_way=True,
    ),
    "hidden-input-in-a-plain-test": in_call(
        "if len(predicted) == 4:\n    raise ValueError(predicted)\nreturn sum(p != r for p, r in zip(predicted, right))",
        zero("crashed", "wrong"),
        name="mistakes",
    ),
    "hidden-input-in-an-answer-that-cannot-be-read": in_cell(
        # The grader's own words about it must not quote it.
        """
        import json, struct
        from coursekit.grading.inside import wire
        honest = wire.pack

        def quote(value):
            if not kept:
                return honest(value)
            text = json.dumps(["tensor", " ".join(kept), []]).encode()
            return struct.pack("!QQ", len(text), 0) + text

        kept, wire.pack = [], quote
        """,
        {"test-clip": zero("died", "crashed")},
        clip="def clip(x):\n    if x.shape == (2, 3):\n        kept.append(str(x.tolist()))\n    return x.clamp(0, 1)",
    ),
    "hidden-input-told-by-a-thread": in_call(
        """
        def tell(seen):
            time.sleep(0.3)
            print(seen)
            for descriptor in range(1, 64):
                with quietly:
                    os.write(descriptor, seen.encode())
        threading.Thread(target=tell, args=(str(x.tolist()),)).start()
        if os.fork() == 0:
            tell(str(x.tolist()))
            os._exit(0)
        return x.clamp(0, 1)
        """,
        Verdict(("passed", "partial", "crashed", "wrong", "died", "timed out"), (0.0, 1.0, 2.0, 3.0)),
    ),
}
