"""``python -m parties.cli``: the same as ``heji``."""

from parties.cli.main import main

if __name__ == "__main__":
    main()
