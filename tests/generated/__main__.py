"""``python -m tests.generated``."""

from tests.generated.run import main

if __name__ == "__main__":
    main()
