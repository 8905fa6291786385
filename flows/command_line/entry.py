"""The start of `birdclef`: Ctrl-C ends it in one line also while it still imports, which takes a second or more."""

from flows.command_line.interruption import ending_on_signals


def main() -> None:
    """Run the command line."""
    with ending_on_signals():
        from flows.command_line.app import run_app

        run_app()


if __name__ == "__main__":
    main()
