"""``python -m tests.packages``."""

from tests.packages.run import main

if __name__ == "__main__":
    main()
