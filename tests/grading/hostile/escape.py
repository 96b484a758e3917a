# ruff: noqa: E501 - one line per submission reads as a table
"""Attempts to get out: to the network, to other processes, to more rights, to files that are not the student's.

Whatever succeeds says so, and no output may hold that word. The answers are right, and get all their points.
"""

from hostile.case import Case, Verdict, at_the_end, in_call, in_cell

SYSCALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)

def succeeds(what, number):
    # For functions of the C library that return -1 when they are refused.
    if number != -1:
        escaped(what)
    else:
        print("refused:", what, os.strerror(ctypes.get_errno()))
"""

NETWORK = """
def connect(family, address, kind=socket.SOCK_STREAM, what=""):
    with attempt(what or address), socket.socket(family, kind) as way:
        way.settimeout(0.5)
        way.connect(address)
        way.sendall(b"out")
        if kind == socket.SOCK_DGRAM:  # which connects to anything
            way.recv(1)
"""

CASES: dict[str, Case] = {
    "loopback": in_cell(
        NETWORK
        + """
connect(socket.AF_INET, ("127.0.0.1", int("@PORT@")), what="tcp")
connect(socket.AF_INET6, ("::1", int("@PORT@")), what="tcp6")
connect(socket.AF_INET, ("127.0.0.1", int("@PORT@")), socket.SOCK_DGRAM, what="udp")
connect(socket.AF_INET, ("@ADDRESS@", int("@PORT@")), what="own address")
with quietly:
    import urllib.request
    urllib.request.urlopen("http://127.0.0.1:@PORT@/", timeout=0.5)
    escaped("http")
""",
        says="refused: tcp",
    ),
    "loopback-from-a-call": in_call(
        NETWORK + "\nconnect(socket.AF_INET, ('127.0.0.1', int('@PORT@')))\nreturn x.clamp(0, 1)",
        Verdict(("passed",), (3.0,)),
    ),
    "network": in_cell(
        NETWORK
        + """
connect(socket.AF_INET, ("192.0.2.1", 80), what="tcp")  # reserved for documentation
connect(socket.AF_INET, ("192.0.2.1", 53), socket.SOCK_DGRAM, what="udp")
with attempt("a name"):
    socket.getaddrinfo("example.org", 80)
print([name for _, name in socket.if_nameindex() if name != "lo" and escaped("interface", name)])
""",
        says="refused: a name",
    ),
    "abstract-socket": in_cell(NETWORK + "\nconnect(socket.AF_UNIX, '\\0@ABSTRACT@')", says="refused: "),
    "sockets-of-the-machine": in_cell(
        NETWORK
        + """
for path in ("@SOCKET@", "/run/docker.sock", "/var/run/docker.sock", "/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0",
             "/run/systemd/private", "/run/user/0/bus"):
    connect(socket.AF_UNIX, path)
""",
        says="refused: ",
    ),
    "other-families": in_cell(
        """
        for family, kind in ((40, 1), (17, 3), (38, 5), (16, 3), (31, 3), (29, 3)):  # vsock, packet, alg, netlink, bluetooth, can
            with quietly:
                way = socket.socket(family, kind)
                print("family", family)
                if family in (40, 17):
                    escaped("a socket of family", family)
        with attempt("raw socket"):
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        """,
        says="refused: raw",
    ),
    "mount": in_cell(
        SYSCALL
        + """
os.makedirs("m", exist_ok=True)
succeeds("mount tmpfs", libc.mount(b"none", b"m", b"tmpfs", 0, None))
succeeds("mount proc", libc.mount(b"none", b"m", b"proc", 0, None))
succeeds("bind /", libc.mount(b"/", b"m", None, 4096, None))
succeeds("remount /usr", libc.mount(b"none", b"/usr", None, 32 | 4096, None))
succeeds("umount /tmp", libc.umount2(b"/tmp", 2))
succeeds("umount /proc", libc.umount2(b"/proc", 2))
succeeds("pivot_root", libc.syscall(155, b".", b"."))
succeeds("chroot", libc.chroot(b"/"))
""",
        says="refused: mount tmpfs",
    ),
    "namespaces-of-its-own": in_cell(
        SYSCALL
        + """
def in_a_child(what, action):
    child = os.fork()
    if child == 0:
        os._exit(0 if action() != -1 else 1)
    print(what, "succeeded" if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0 else "refused")

def rights():
    if libc.unshare(0x10000000 | 0x20000) == -1:
        return -1
    return libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)

in_a_child("unshare", lambda: libc.unshare(0x10000000))
child = os.fork()
if child == 0:
    os._exit(0 if rights() != -1 else 1)
if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0:
    escaped("a mount in a namespace of its own")
for process in filter(str.isdigit, os.listdir("/proc")):
    for kind in ("user", "mnt", "pid", "net"):
        with quietly:
            way = os.open(f"/proc/{process}/ns/{kind}", os.O_RDONLY)
            if os.fstat(way).st_ino != os.stat(f"/proc/self/ns/{kind}").st_ino:
                succeeds(f"setns {kind}", libc.setns(way, 0))
!unshare -r -m true && echo unshared
""",
        says="unshare",
    ),
    "trace": in_cell(
        SYSCALL
        + """
for process in filter(str.isdigit, os.listdir("/proc")):
    if int(process) not in (os.getpid(), *(int(t) for t in os.listdir("/proc/self/task"))):
        succeeds(f"ptrace {process}", libc.ptrace(16, int(process), None, None))
        succeeds(f"ptrace seize {process}", libc.ptrace(0x4206, int(process), None, None))
        with quietly, open(f"/proc/{process}/mem", "r+b"):
            escaped("writing to the memory of", process)
print("tried to trace")
""",
        says="tried to trace",
    ),
    "rights": in_cell(
        SYSCALL
        + """
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
    if int(status[name], 16):
        escaped("capabilities", name, status[name])
if status["NoNewPrivs"].strip() != "1":
    escaped("new privileges are allowed")
print("capabilities", status["CapEff"].strip())
with quietly:
    os.setgroups([0, 1])
    escaped("setgroups")
for what, action in (("setuid", lambda: os.setuid(1)), ("setgid", lambda: os.setgid(1)), ("setresuid", lambda: os.setresuid(1, 1, 1)),
                     ("chown", lambda: os.chown("/etc/passwd", 1, 1)), ("nice", lambda: os.setpriority(os.PRIO_PROCESS, 0, -20)),
                     ("rlimit", lambda: __import__("resource").setrlimit(7, (1 << 20, 1 << 20)))):
    with attempt(what):
        action()
for program in ("su -c id", "sudo -n id", "mount", "newgrp", "pkexec id"):
    said = subprocess.run(program + " </dev/null", shell=True, capture_output=True, text=True)
    if program != "mount" and "uid=0(root)" in said.stdout and os.getuid() != 0:
        escaped(program)
""",
        says="capabilities 0000000000000000",
    ),
    "writing": in_cell(
        """
        import coursekit, IPython, site
        folders = [os.path.dirname(coursekit.__file__), os.path.dirname(torch.__file__), os.path.dirname(os.__file__),
                   os.path.dirname(sys.executable), *site.getsitepackages(), "/usr", "/etc", "/opt", "/root", "/var", "/run", "/boot",
                   "/lib", "/sys/fs/cgroup", "/sys/kernel", "/proc/sys/kernel", "@COURSE@", "@COURSE@/submitted", "@HOME@",
                   *(folder for folder in sys.path if folder)]
        for folder in dict.fromkeys(folders):
            if os.path.realpath(folder).startswith((os.getcwd(), os.path.expanduser("~"), os.environ.get("TMPDIR", "/nowhere"))):
                continue  # the student's own
            with quietly:
                open(f"{folder}/@MARK@", "w").close()
                if os.stat(folder).st_dev == os.stat("/usr").st_dev or folder.startswith(("@COURSE@", "@HOME@")):
                    escaped("a file in", folder)
        for path in (coursekit.__file__, torch.__file__, IPython.__file__, sys.executable, "/etc/passwd", "/etc/hosts", "/bin/sh",
                     "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory", "/proc/sysrq-trigger", "/dev/mem",
                     "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/net/tun", "/proc/1/oom_score_adj"):
            with quietly:
                os.close(os.open(path, os.O_WRONLY))  # nothing is written
                escaped("opened for writing:", path)
        print("tried to write")
        """,
        says="tried to write",
    ),
    "devices": in_cell(
        """
        import stat
        for name, number in (("mem", os.makedev(1, 1)), ("sda", os.makedev(8, 0)), ("kmsg", os.makedev(1, 11))):
            with attempt(name):
                os.mknod(name, 0o600 | stat.S_IFCHR, number)
                open(name, "rb").close()
        print(sorted(os.listdir("/dev")))
        """,
        says="refused: mem",
    ),
    "the-machine-itself": in_cell(
        SYSCALL
        + """
succeeds("sethostname", libc.sethostname(b"x", 1))
succeeds("settimeofday", libc.settimeofday(None, ctypes.byref((ctypes.c_int * 2)(0, 0))))
succeeds("swapoff", libc.swapoff(b"/nowhere-to-be-found"))
succeeds("acct", libc.acct(None))
succeeds("ioperm", libc.ioperm(0, 8, 1))
succeeds("iopl", libc.iopl(3))
succeeds("bpf", libc.syscall(321, 0, None, 0))
succeeds("perf_event_open", libc.syscall(298, ctypes.create_string_buffer(128), 0, -1, -1, 0))
succeeds("userfaultfd", libc.syscall(323, 0))
succeeds("io_uring_setup", libc.syscall(425, 8, ctypes.create_string_buffer(256)))
succeeds("add_key", libc.syscall(248, b"user", b"x", b"y", 1, -3))
succeeds("open_by_handle_at", libc.syscall(304, -100, ctypes.create_string_buffer(64), 0))
succeeds("init_module", libc.syscall(175, b"", 0, b""))
""",
        says="refused: sethostname",
    ),
    "terminal-input": in_cell(
        """
        import fcntl, termios
        for descriptor in range(64):
            with quietly:
                fcntl.ioctl(descriptor, termios.TIOCSTI, b"x")
                escaped("a key pressed")
        with quietly:
            os.open("/dev/tty", os.O_RDWR)
            escaped("the terminal")
        """
    ),
    "processes-of-the-machine": in_cell(
        """
        import signal
        others = [int(p) for p in os.listdir("/proc") if p.isdigit()]
        print("processes", len(others))
        if len(others) > 20:
            escaped("the processes of the machine")
        for process in (int("@CONTROLLER@"), 2, 3, 100, 1000):
            with quietly:
                os.kill(process, 0)
                print("there is", process)
        with quietly:
            open("/proc/1/oom_score_adj", "w").write("-1000")
        """,
        says="processes",
    ),
    "traps-for-the-cleaner": in_cell(
        """
        # Whoever clears the folder away, perhaps with more rights, must not follow.
        for name in ("a", "home", "tmp", "work"):
            with quietly:
                os.symlink("@COURSE@", name)
        os.makedirs("deep", exist_ok=True)
        with quietly:
            os.symlink("@HOME@", "deep/link")
            os.link("@COURSE@/gradebook.db", "deep/hard")
            escaped("a hard link to the gradebook")
        os.mkfifo("pipe")
        os.rename("deep", "\\n-rf ..")
        for folder in (os.getcwd(), os.path.expanduser("~")):
            with quietly:
                os.rename(folder, folder + "-away")
                os.symlink("@COURSE@", folder)
        """
    ),
    "out-of-a-changed-root": in_cell(
        SYSCALL
        + """
root = os.open("/", os.O_RDONLY)
os.makedirs("jail", exist_ok=True)
if libc.chroot(b"jail") == 0:
    os.fchdir(root)
    for _ in range(20):
        os.chdir("..")
    libc.chroot(b".")
    if os.path.exists("@COURSE@/gradebook.db"):
        escaped("through chroot")
for path in ("/proc/1/root/@COURSE@/gradebook.db", "/proc/self/root/@COURSE@/gradebook.db", "/.old_root/@COURSE@", "/oldroot", "/newroot/@COURSE@"):
    if os.path.exists(path):
        escaped(path)
"""
    ),
    "descriptors-of-folders": in_cell(
        """
        for descriptor in range(512):
            with quietly:
                inside = os.listdir(descriptor)
                print("a folder:", descriptor, inside)
                if "solutions" in inside or "gradebook.db" in inside:
                    escaped("descriptor", descriptor)
        """
    ),
    "starting-files": at_the_end(
        # Files that programs read when they start, in every place the student may write to.
        """
        for folder in {os.getcwd(), os.path.expanduser("~"), "/tmp", os.environ.get("TMPDIR", "/tmp"), os.environ.get("IPYTHONDIR", "/tmp")}:
            for name in ("sitecustomize.py", "usercustomize.py", "torch.py", "coursekit.py", "x.pth", "conftest.py", ".bashrc",
                         "profile_default/startup/00.py", "profile_default/ipython_config.py", ".pythonrc", "matplotlibrc"):
                with quietly:
                    os.makedirs(os.path.dirname(f"{folder}/{name}"), exist_ok=True)
                    open(f"{folder}/{name}", "w").write("import os; os.system('touch /tmp/@MARK@ /var/tmp/@MARK@')")
        """,
        "print('left')",
        says="left",
    ),
}
