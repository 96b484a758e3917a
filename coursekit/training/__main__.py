"""python -m coursekit.training: trains a classifier of the course and writes its weights."""

from coursekit.training.recipes import main

if __name__ == "__main__":
    main()
