"""The command line. Every error the user can mend is one line on stderr and an exit code that is not 0."""

import argparse
import glob
import os
import subprocess
import sys
from pathlib import Path

from coursekit.grading.limits import CELL_LIMIT, TIME_LIMIT


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    # Imported here: `coursekit --help` and the tab key stay instant.
    from coursekit.grading.course import CourseError

    try:
        code = args.run(args)
        sys.stdout.flush()  # a full disk or a closed pipe shows here, not after the exit code is decided
        return code
    except CourseError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # `coursekit doctor | head`: nobody reads on. Python would complain once more when it closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(_os_error(error))
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == "coursekit":
            return _unexpected(error)
        return _fail(f"the package {error.name} is missing; coursekit doctor says how to install what is")
    except KeyboardInterrupt:
        _fail("interrupted; what was finished before is kept")
        return 130
    except Exception as error:
        return _unexpected(error)


def _fail(message: str) -> int:
    print(f"coursekit: {' '.join(message.splitlines())}", file=sys.stderr)
    return 1


def _os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _unexpected(error: Exception) -> int:
    """A mistake of ours. A traceback helps whoever mends it, and nobody else."""
    if os.environ.get("COURSEKIT_TRACEBACK"):
        raise error
    return _fail(f"unexpected {type(error).__name__}: {error} (COURSEKIT_TRACEBACK=1 shows where it happened)")


def _course(args: argparse.Namespace):
    from coursekit.grading.course import Course, CourseError

    folder = Path(args.course).resolve()
    if not folder.is_dir():
        raise CourseError(f"no folder {folder}; name the folder of the course with --course DIR")
    return Course(folder)


def _lab(args: argparse.Namespace) -> int:
    release = _course(args).release
    if not release.is_dir():
        from coursekit.grading.course import CourseError

        raise CourseError(f"no folder {release}; name the course with --course DIR")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={release}", *args.jupyter]
    if os.name == "nt":  # there exec leaves the terminal to the shell while JupyterLab still uses it
        return subprocess.run(command).returncode
    os.execv(sys.executable, command)


def _check(args: argparse.Namespace) -> int:
    from coursekit.grading.check import check

    return check(_notebook(args))


def _notebook(args: argparse.Namespace) -> Path:
    """The file of this name or, if there is none, the release's notebook of this name."""
    path = Path(args.notebook)
    if not path.is_file() and path.name == args.notebook:
        released = sorted(_course(args).release.glob(f"*/{glob.escape(path.name.removesuffix('.ipynb'))}.ipynb"))
        if len(released) == 1:
            return released[0]
    return path


def _build(args: argparse.Namespace) -> int:
    from coursekit.grading.build import build

    return build(_course(args), check=args.check)


def _grade(args: argparse.Namespace) -> int:
    from coursekit.grading.grade import grade

    course, code = _course(args), 0
    if args.archive is not None:
        from coursekit.grading.collect import collect_and_tell

        code = collect_and_tell(course, args.assignment, args.archive, args.students, args.file_times)
    return code | grade(
        course, args.assignment, jobs=args.jobs, student=args.student, json_file=args.json,
        time_limit=args.time_limit, cell_limit=args.cell_limit, isolation=args.isolation, scheduler=args.scheduler,
        again=args.again,
    )  # fmt: skip


def _feedback(args: argparse.Namespace) -> int:
    from coursekit.grading.feedback import feedback

    return feedback(_course(args), args.assignment, student=args.student, hidden=args.hidden)


def _export(args: argparse.Namespace) -> int:
    from coursekit.grading.export import export

    return export(_course(args), args.assignment, args.to, args.out, args.title, args.questions)


def _report(args: argparse.Namespace) -> int:
    from coursekit.grading.class_report import report

    return report(_course(args), args.assignment, args.json)


def _doctor(args: argparse.Namespace) -> int:
    from coursekit.doctor import doctor

    return doctor(Path(args.course))


def _demo(args: argparse.Namespace) -> int:
    from coursekit.grading.demo import demo

    return demo(_course(args), Path(args.into) if args.into else None, args.isolation)


def _parser() -> argparse.ArgumentParser:
    about = "A course on the robustness of machine learning models."
    parser = argparse.ArgumentParser(prog="coursekit", description=about)
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    course = argparse.ArgumentParser(add_help=False)
    course.add_argument("--course", default=".", metavar="DIR", help="folder of the course (default: here)")

    def command(name: str, run, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help, parents=[course])
        sub.set_defaults(run=run)
        return sub

    def isolation(sub: argparse.ArgumentParser) -> None:
        sub.add_argument("--isolation", choices=["bubblewrap", "none"], default="bubblewrap",
                         help="what keeps students' code in (default bubblewrap; none: your rights)")  # fmt: skip

    lab = command("lab", _lab, "open JupyterLab on the notebooks")
    lab.add_argument("jupyter", nargs="*", help="passed on to JupyterLab, after --")

    about = "run a notebook and show its points; exit code 0 only if every visible test passes"
    check = command("check", _check, about)
    check.add_argument("notebook", metavar="NOTEBOOK", help="a file, or the name of a notebook of the course")

    build = command("build", _build, "make the release in notebooks/ from the sources in solutions/")
    build.add_argument("--check", action="store_true", help="write nothing; fail if the release is out of date")

    grade = command("grade", _grade, "grade what lies in submitted/ into the gradebook and autograded/")
    grade.add_argument("assignment", metavar="ASSIGNMENT")
    grade.add_argument("--jobs", type=_positive, default=1, metavar="N", help="submissions graded at once (default 1)")
    grade.add_argument("--student", metavar="ID", help="grade only this student")
    grade.add_argument("--json", type=Path, metavar="FILE", help="also write the results to FILE")
    grade.add_argument("--time-limit", type=_positive, default=TIME_LIMIT, metavar="SECONDS",
                       help=f"for one submission, by the wall clock (default {TIME_LIMIT})")  # fmt: skip
    grade.add_argument("--cell-limit", type=_positive, default=CELL_LIMIT, metavar="SECONDS",
                       help=f"for one cell, by the wall clock (default {CELL_LIMIT})")  # fmt: skip

    grade.add_argument("--again", action="store_true", help="run also what was finished before and has not changed")
    isolation(grade)
    grade.add_argument("--scheduler", metavar="ADDRESS", default="",
                       help="grade on the Dask cluster of this scheduler, tcp://HOST:PORT")  # fmt: skip

    grade.add_argument("--archive", type=Path, metavar="FILE",
                       help="first unpack what Moodle or Canvas packed, or a zip or tar of folders")  # fmt: skip
    grade.add_argument("--students", type=Path, metavar="FILE",
                       help="with --archive: list of participants (CSV), as Moodle's grading worksheet")  # fmt: skip
    grade.add_argument("--file-times", action="store_true",
                       help="with --archive: its files' times are those of handing in")  # fmt: skip

    feedback = command("feedback", _feedback, "write an HTML page per student to feedback/")
    feedback.add_argument("assignment", metavar="ASSIGNMENT")
    feedback.add_argument("--student", metavar="ID", help="only this student")
    feedback.add_argument("--hidden", choices=["no", "hints", "full"], default="no",
                          help="of hidden cases show how they went, their hints too, or all (default no)")  # fmt: skip

    export = command("export", _export, "write the grades as CSV, for Canvas, for Moodle, or plain")
    which = export.add_mutually_exclusive_group(required=True)
    which.add_argument("assignment", metavar="ASSIGNMENT", nargs="?")
    which.add_argument("--all", action="store_true", help="all assignments that somebody was graded for")
    export.add_argument("--to", choices=["plain", "canvas", "moodle"], default="plain", help="whom for (default plain)")
    export.add_argument("--out", type=Path, metavar="FILE", help="write it to FILE (default: print it)")
    export.add_argument("--title", metavar="TEXT", default="",
                        help='what it is called there, in Canvas with its number: "FGSM (1234)"')  # fmt: skip
    export.add_argument("--questions", action=argparse.BooleanOptionalAction, default=None,
                        help="a column for each question (default: in plain)")  # fmt: skip

    about = "show how the class did, question by question, and what failed most often"
    report = command("report", _report, about)
    report.add_argument("assignment", metavar="ASSIGNMENT")
    report.add_argument("--json", type=Path, metavar="FILE", help="also write it to FILE")

    about = "show versions and devices, what is missing, and the command that mends it"
    command("doctor", _doctor, about)

    demo = command("demo", _demo, "grade a small sample class, from the sources to the feedback pages")
    demo.add_argument("--into", metavar="DIR", help="folder for the sample class (default: demo/ in the course)")
    isolation(demo)
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"got {text!r}, allowed is a whole number from 1")
    return int(text)


def _version() -> str:
    from coursekit import __version__

    return f"coursekit {__version__}"


if __name__ == "__main__":
    sys.exit(main())
