"""Submissions that attack the grader, and honest ones with slips, each with its verdict beside it.

`case.py` says what a case is, the modules named after a kind of attack hold the cases, `classroom.py` grades a class
made of them. The course they hand in to is in `course/`, under the real `coursekit.checks`.
"""
