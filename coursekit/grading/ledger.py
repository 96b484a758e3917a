"""The gradebook as a table: who has how many points for which question of an assignment, and why not yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from nbgrader.api import Assignment, Grade, Gradebook, MissingEntry, Student, SubmittedAssignment, SubmittedNotebook
from sqlalchemy.orm import undefer

from coursekit.grading.course import Course, CourseError
from coursekit.grading.gradebook import Book, Entry
from coursekit.grading.source import SourceError
from coursekit.grading.source import read as read_source


@dataclass(frozen=True)
class Question:
    """A graded cell. id: unique in its notebook; max: points."""

    notebook: str
    id: str
    max: float


@dataclass(frozen=True)
class Participant:
    """A student as the gradebook knows them; what it does not know is ""."""

    id: str
    first_name: str
    last_name: str
    email: str
    lms_user_id: str

    @property
    def name(self) -> str:
        """As people say it; the id where there is no name."""
        return f"{self.first_name} {self.last_name}".strip() or self.id


@dataclass(frozen=True)
class Marks:
    """What one student has. entries: by question; penalty: points off for handing in late."""

    handed_in: datetime | None
    entries: dict[Question, Entry]
    penalty: float

    @property
    def raw(self) -> float:
        """The sum of all questions, as far as they are graded."""
        return sum(entry.score for entry in self.entries.values())

    @property
    def score(self) -> float:
        """What counts."""
        return max(0.0, self.raw - self.penalty)

    @property
    def waiting(self) -> float:
        """Points that a person has still to decide on."""
        return sum(entry.max for entry in self.entries.values() if entry.waiting)


@dataclass(frozen=True)
class Ledger:
    """An assignment in the gradebook. questions: in the order of the notebooks; people: everybody in the course;
    marks: by student, of those who handed in."""

    assignment: str
    due: datetime | None
    questions: list[Question]
    people: list[Participant]
    marks: dict[str, Marks]

    @property
    def max(self) -> float:
        """Points that can be had."""
        return sum(question.max for question in self.questions)

    def label(self, question: Question) -> str:
        """A question's id; with its notebook's name where another notebook has one of the same id."""
        twice = sum(other.id == question.id for other in self.questions) > 1
        return f"{question.notebook}/{question.id}" if twice else question.id


def read_all(course: Course, book: Book) -> list[Ledger]:
    """Every assignment that somebody was graded for, in the order of the course. CourseError if there is none."""
    with book.reading() as gradebook:
        names = sorted(assignment.name for assignment in gradebook.assignments if assignment.submissions)
    if not names:
        raise CourseError("nobody was graded yet; run coursekit grade ASSIGNMENT first")
    return [read(course, book, name) for name in names]


def read(course: Course, book: Book, assignment: str) -> Ledger:
    """One assignment. CourseError if nobody was graded for it."""
    with book.reading() as gradebook:
        try:
            found = gradebook.find_assignment(assignment)
        except MissingEntry:
            found = None
        if found is None or not found.submissions:
            raise CourseError(f"nobody was graded for {assignment}; run coursekit grade {assignment} first")
        questions = _questions(course, gradebook, assignment)
        people = [_participant(student) for student in gradebook.students]
        return Ledger(assignment, found.duedate, questions, people, _all_marks(gradebook, found, questions))


def _participant(student: Student) -> Participant:
    texts = (student.first_name, student.last_name, student.email, student.lms_user_id)
    return Participant(student.id, *(text or "" for text in texts))


def _questions(course: Course, gradebook: Gradebook, assignment: str) -> list[Question]:
    order = _order_in_sources(course, assignment)
    questions = [
        Question(notebook.name, cell.name, cell.max_score)
        for notebook in gradebook.find_assignment(assignment).notebooks
        for cell in notebook.grade_cells
    ]
    last = len(order)
    return sorted(questions, key=lambda q: (order.get((q.notebook, q.id), last), q.notebook, q.id))


def _order_in_sources(course: Course, assignment: str) -> dict[tuple[str, str], int]:
    """The gradebook does not keep the order of the cells. Empty where the sources cannot be read."""
    try:
        sources = [(path.stem, read_source(path).notebook) for path in course.notebooks(assignment)]
    except (CourseError, SourceError, OSError):
        return {}
    ids = [(name, cell.metadata.get("nbgrader", {}).get("grade_id", "")) for name, nb in sources for cell in nb.cells]
    return {id: place for place, id in enumerate(ids)}


def _all_marks(gradebook: Gradebook, assignment: Assignment, questions: list[Question]) -> dict[str, Marks]:
    known = {(question.notebook, question.id): place for place, question in enumerate(questions)}
    found: dict[str, dict[int, Entry]] = {submission.student_id: {} for submission in assignment.submissions}
    # One query for all: nbgrader's scores are sums that it asks for one by one, which takes long for a class.
    grades = (
        gradebook.db.query(Grade)
        .options(undefer(Grade.score), undefer(Grade.max_score))
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .where(SubmittedAssignment.assignment_id == assignment.id)
    )
    for grade in grades:
        found[grade.student.id][known[grade.notebook.name, grade.name]] = Entry.of(grade)
    return {
        submission.student_id: Marks(
            submission.timestamp,
            {questions[place]: entry for place, entry in sorted(found[submission.student_id].items())},
            sum(notebook.late_submission_penalty or 0.0 for notebook in submission.notebooks),
        )
        for submission in assignment.submissions
    }
