"""`python -m maestune` is the command line."""

from maestune.cli.main import main

if __name__ == "__main__":
    main()
