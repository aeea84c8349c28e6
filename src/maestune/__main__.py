"""`python -m maestune` is the command line."""

from maestune.cli.entry import main

if __name__ == "__main__":
    main()
