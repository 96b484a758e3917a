"""What runs inside the sandbox, in processes of its own: the zygote and, forked from it, students and examiners."""

ENDED = "the notebook's process ended"  # an examiner's reason; who sees the process from outside may know more
DISMISSED = 86  # exit code of a snapshot that nobody asks any more
