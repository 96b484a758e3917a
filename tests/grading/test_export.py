"""CSV for Canvas, Moodle and spreadsheets: what is in the gradebook, and nothing that a spreadsheet would run."""

import csv
import io
import zipfile

import pytest
from grading_samples import as_bytes, by_hand, nbgrader
from nbgrader.api import Gradebook

from coursekit import cli
from coursekit.grading.collect import collect
from coursekit.grading.export import Row, as_csv, harmless
from coursekit.grading.grade import grade_class

EVIL = '=HYPERLINK("http://evil.example","x")'


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture(scope="module")
def graded(new_course, filled, hand_in, pool, tmp_path_factory):
    """Ada came from Moodle, Grace from Canvas and late, Mallory from nowhere; Zoë is in the course and handed in
    nothing; Emmy's answer awaits a person."""
    course = new_course()
    with course.nbgrader_config.open("a") as config:
        config.write('\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    full = as_bytes(filled())
    for name in ("1815_assignsubmission_file_/tiny.ipynb", "lovelaceada_LATE_1906_77_tiny.ipynb"):
        file = tmp_path_factory.mktemp("archive") / "class.zip"
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(f"Ada Lovelace_{name}" if "assign" in name else name, full)
        collect(course, "tiny", file)
    (course.submitted / "1906" / "tiny" / "timestamp.txt").write_text("2026-02-03 13:00:00 UTC")
    hand_in(course, "-2+3", filled(root="def root(x): return 3.0"))
    hand_in(course, "emmy", filled(add="def add(a, b):\n    return abs(a) + abs(b)"))
    with Gradebook(f"sqlite:///{course.gradebook}", "robustness") as book:
        book.update_or_create_assignment("tiny", duedate="2026-02-03 12:00:00 UTC")
        book.update_or_create_student("-2+3", first_name=EVIL, last_name='O\'Neill, "Mal"\n', email="\t@SUM(1)")
        book.update_or_create_student("zoë", first_name="Zoë", last_name="Å")
    grade_class(course, "tiny", pool=pool)
    for student, points in (("1815", 1.5), ("1906", 2.0), ("-2+3", 1 / 3)):
        by_hand(course, student, "why", score=points)
    grade_class(course, "tiny", pool=pool)
    return course


@pytest.fixture
def exported(graded, capfd):
    """exported("--to", ...): what is printed as bytes, and the notes."""

    def do(*arguments):
        assert cli.main(["export", *arguments, "--course", str(graded.dir)]) == 0
        return capfd.readouterr()

    return do


@pytest.mark.slow
class TestPlain:
    def test_nbgraders_columns_are_the_same(self, graded, exported):
        """Also for somebody who handed in nothing. Numbers are written shorter."""
        nbgrader(graded, "export", "--to", "stock.csv")
        rows = table(exported("tiny").out)
        assert (graded.dir / "stock.csv").read_text().startswith(",".join(list(rows[0])[:11]))
        with Gradebook(f"sqlite:///{graded.gradebook}", "robustness") as book:
            assert [row["student_id"] for row in rows] == [harmless(student.id) for student in book.students]
            submissions = {submission.student_id: submission for submission in book.assignment_submissions("tiny")}
            for row in rows:
                submission = submissions.get(row["student_id"].lstrip("'"))
                raw, penalty = (submission.score, submission.late_submission_penalty) if submission else (0.0, 0.0)
                numbers = [float(row[name]) for name in ("raw_score", "late_submission_penalty", "score", "max_score")]
                assert numbers == [pytest.approx(n, abs=0.005) for n in (raw, penalty, max(0, raw - penalty), 8.0)]
                assert row["duedate"] == "2026-02-03 12:00:00"
                assert row["timestamp"] == str(submission.timestamp or "" if submission else "")

    def test_a_column_for_each_question_in_their_order(self, exported):
        captured = exported("tiny")
        rows = {row["student_id"]: row for row in table(captured.out)}
        assert list(rows["1815"])[11:] == ["waiting", "test-add", "test-double", "test-root", "why"]
        assert [rows["1815"][n] for n in ("test-add", "test-root", "why", "score")] == ["2", "3", "1.5", "7.5"]
        assert [rows["emmy"][n] for n in ("test-add", "why", "waiting", "score")] == ["1", "", "2", "5"]
        assert [rows["zoë"][n] for n in ("timestamp", "test-add", "score")] == ["", "", "0"]
        assert [rows["1906"][n] for n in ("raw_score", "late_submission_penalty", "score")] == ["8", "8", "0"]
        assert rows["'-2+3"]["why"] == "0.33"
        assert captured.err == (
            "Note: tiny: answers of 1 student (emmy) await a person; the total is counted without them. Grade them in "
            "formgrader and export again\n"
        )
        assert "test-add" not in exported("tiny", "--no-questions").out

    def test_into_a_file(self, graded, exported, tmp_path):
        file = tmp_path / "grades.csv"
        captured = exported("tiny", "--out", str(file))
        assert captured.out == ""
        assert file.read_bytes() == exported("tiny").out.encode()
        assert "Zoë" in file.read_bytes().decode()

    def test_all(self, exported):
        rows = table(exported("--all").out)
        assert list(rows[0])[12:] == ["test-add", "test-double", "test-root", "why"]


@pytest.mark.slow
def test_canvas(exported):
    captured = exported("tiny", "--to", "canvas", "--title", "Tiny (4711)")
    lines = list(csv.reader(io.StringIO(captured.out)))
    assert lines[0] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "Tiny (4711)"]
    assert lines[1] == ["    Points Possible", "", "", "", "", "8"]
    rows = {line[3] or line[1]: line for line in lines[2:]}
    assert rows["1906"] == ["lovelaceada", "1906", "", "", "", "0"]
    assert rows["1815"] == ["Lovelace, Ada", "", "", "1815", "", "7.5"], "Moodle's number is nobody's in Canvas"
    assert rows["emmy"] == ["emmy", "", "", "emmy", "", ""]
    assert "zoë" not in rows, "nothing was handed in"
    assert "emmy) await a person; the total is left blank" in captured.err


@pytest.mark.slow
def test_moodle(exported):
    captured = exported("tiny", "--to", "moodle", "--questions")
    rows = {row["Full name"]: row for row in table(captured.out)}
    assert list(rows["emmy"]) == [
        "Identifier", "Full name", "Email address", "Grade", "Maximum grade", "Last modified (grade)",
        "tiny: test-add", "tiny: test-double", "tiny: test-root", "tiny: why",
    ]  # fmt: skip
    ada = rows["Ada Lovelace"]
    assert (ada["Identifier"], ada["Grade"], ada["Maximum grade"], ada["tiny: why"]) == (
        "Participant 1815",
        "7.5",
        "8",
        "1.5",
    )
    assert (rows["emmy"]["Identifier"], rows["emmy"]["Grade"]) == ("", "")
    assert "no Moodle number is known of 3 students" in captured.err


@pytest.mark.slow
def test_no_cell_is_a_formula(exported):
    for to in ("plain", "canvas", "moodle"):
        lines = list(csv.reader(io.StringIO(exported("tiny", "--to", to).out)))
        assert len({len(line) for line in lines}) == 1
        cells = {cell for line in lines for cell in line}
        assert not [cell for cell in cells if cell.strip()[:1] in "=+@" and cell.strip()]
        assert any("HYPERLINK" in cell for cell in cells)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "＝", "＋", "－", "＠"])
def test_harmless(start):
    assert harmless(f"{start}1+1").startswith("'")
    assert harmless(f"x{start}1+1") == f"x{start}1+1".replace("\t", " ").replace("\r", " ").replace("\n", " ")


def test_quotes_and_numbers():
    rows: list[Row] = [["a;b", 'say "x"', "a,b", "é\ud800"], [1.0, 2.5, 1 / 3, 1234567.0]]
    assert as_csv(rows) == '"a;b","say ""x""","a,b","é?"\n1,2.5,0.33,1234567\n'


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "unknown assignment"),
        (["tiny"], "nobody was graded for tiny; run coursekit grade tiny first"),
        (["--all"], "nobody was graded yet"),
        (["--all", "--title", "x"], "--title names one assignment"),
        (["tiny", "--out", "/nowhere/x.csv"], "no folder /nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_exported(arguments, words, course, capsys):
    assert cli.main(["export", *arguments, "--course", str(course.dir)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert words in captured.err


@pytest.mark.parametrize("arguments", [[], ["tiny", "--all"], ["tiny", "--to", "excel"]])
def test_wrong_usage(arguments):
    with pytest.raises(SystemExit) as exit:
        cli.main(["export", *arguments])
    assert exit.value.code == 2
