"""``python -m currant``: the `currant` command."""

from currant.cli import main

if __name__ == "__main__":
    main()
