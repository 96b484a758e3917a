"""What runs inside the sandbox, in processes of its own: the zygote and, forked from it, students and examiners."""
