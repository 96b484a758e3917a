"""How long grading waits, in seconds by the wall clock. A module of its own, so that `--help` can name them at once."""

CELL_LIMIT = 30  # for one cell
TIME_LIMIT = 300  # for one submission
