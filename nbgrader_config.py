"""nbgrader's settings for this course. `coursekit build` reads them too, so stubs and delimiters are said once, here.

nbgrader's own commands work from this folder, in this order:

    coursekit build                                      solutions/ -> build/source/ and notebooks/
    nbgrader generate_assignment gradient_attacks --force     tells the gradebook; writes the same release again
    nbgrader autograde gradient_attacks                  submitted/ -> autograded/, not isolated from this computer
    nbgrader generate_feedback gradient_attacks          autograded/ -> feedback/
    jupyter lab                                          formgrader is in the menu nbgrader
"""

import os
import shutil
import sys
from pathlib import Path

import nbformat
from nbconvert.preprocessors import TagRemovePreprocessor
from nbgrader import preprocessors

from coursekit.grading.course import Course
from coursekit.grading.limits import CELL_LIMIT

c = get_config()  # noqa: F821, nbgrader and traitlets define it where this file runs

c.CourseDirectory.course_id = "robustness"
c.CourseDirectory.source_directory = "build/source"
c.CourseDirectory.release_directory = "notebooks"

# What stands in the release where a solution was.
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE: replace this line and the next\nraise NotImplementedError()"}
c.ClearSolutions.text_stub = "*Your answer: double-click here, and write in place of this text.*"

# Figures and experiments, the `demo` cells, take long and are not graded. nbclient's own tag, "skip-execution", has no
# effect then: it would give full marks for a test that did not run.
c.Execute.skip_cells_with_tag = "demo"
c.Execute.timeout = CELL_LIMIT


class Repair(preprocessors.NbGraderPreprocessor):
    """Makes a submission whole before nbgrader reads it, in the way that `coursekit grade` does.

    Without it a cell that is there twice ends nbgrader's whole batch, a deleted test waits for a person for ever, and
    a test that is tagged not to run gets full marks.
    """

    def preprocess(self, nb, resources):
        from coursekit.grading import assignment, repair

        ids = resources["nbgrader"]
        course = Course(Path.cwd())  # nbgrader goes to the folder of the course before it converts anything
        template = assignment.load(course, ids["assignment"], self.config).templates[ids["notebook"]]
        repaired = repair.repair(template, nbformat.writes(nb).encode())
        for remark in repaired.repairs:
            self.log.warning("%s: %s", ids["student"], remark)
        return repaired.notebook, resources


c.Autograde.sanitize_preprocessors = [
    Repair,
    preprocessors.ClearOutput,
    preprocessors.OverwriteKernelspec,
    preprocessors.OverwriteCells,
    preprocessors.CheckCellMetadata,
]


# Autograded notebooks hold the hidden tests and the marking schemes; what students get back does not.
class RemoveMarkingSchemes(TagRemovePreprocessor):
    """A class of its own: settings of nbconvert's would hide the schemes in formgrader as well."""

    def __init__(self, **settings):
        super().__init__(enabled=True, remove_cell_tags={"marking-scheme"}, **settings)


class HideCases(preprocessors.NbGraderPreprocessor):
    """ClearHiddenTests cleans the source of a hidden test; this cleans its table, which shows what was tried."""

    def preprocess_cell(self, cell, resources, cell_index):
        from coursekit.grading.feedback import without_hidden_cases

        if cell.cell_type == "code":
            without_hidden_cases(cell, preprocessors.ClearHiddenTests(parent=self).begin_test_delimeter)
        return cell, resources


c.GenerateFeedback.preprocessors = [
    preprocessors.GetGrades,
    HideCases,  # before the source is cleaned: it says which cells have a hidden part
    preprocessors.ClearHiddenTests,
    RemoveMarkingSchemes,
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]

# nbgrader calls the program `alembic` for a new gradebook: let it be found without the environment being activated.
if shutil.which("alembic") is None:
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
