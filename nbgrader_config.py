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

from nbgrader import preprocessors, utils

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
c.Execute.timeout = 120


class Tidy(preprocessors.DeduplicateIds):
    """Before grading: of a cell that is there several times the last one counts, and tags on graded cells go.

    nbgrader's own removal of duplicates leaves metadata it does not accept itself, which ends the whole batch.
    """

    def preprocess(self, nb, resources):
        nb, resources = super().preprocess(nb, resources)
        for cell in nb.cells:
            if cell.metadata.get("nbgrader") == {}:
                del cell.metadata["nbgrader"]
            if utils.is_grade(cell) or utils.is_locked(cell):
                cell.metadata.pop("tags", None)
        return nb, resources


c.Autograde.sanitize_preprocessors = [
    preprocessors.ClearOutput,
    Tidy,
    preprocessors.OverwriteKernelspec,
    preprocessors.OverwriteCells,
    preprocessors.CheckCellMetadata,
]
c.OverwriteCells.add_missing_cells = True  # a deleted test is put back and graded, not left to grade by hand for ever

# Autograded notebooks hold the hidden tests; what students get back does not.
c.GenerateFeedback.preprocessors = [
    preprocessors.GetGrades,
    preprocessors.ClearHiddenTests,
    "nbconvert.preprocessors.CSSHTMLHeaderPreprocessor",
]

# nbgrader calls the program `alembic` for a new gradebook: let it be found without the environment being activated.
if shutil.which("alembic") is None:
    os.environ["PATH"] = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
