"""Bounds that grading keeps. A module of its own without imports, so that `--help` can name them at once."""

CELL_LIMIT = 30  # seconds by the wall clock for one cell
TIME_LIMIT = 300  # seconds by the wall clock for one submission
TEXT_LIMIT = 64 * 1024  # characters of printed text kept per cell
RICH_LIMIT = 8 * 1024 * 1024  # characters of pictures and tables kept per cell
OUTPUTS_LIMIT = 200  # outputs kept per cell
SCORE_MIME = "application/vnd.coursekit.score+json"  # how a check tells its result
