"""The program `outboxd`."""

import sys

from outboxd import signals


def main() -> None:
    """Run the command line. What it imports takes a while, in which SIGTERM ends the process already."""
    signals.end_on_sigterm()

    from outboxd.commands.main import load  # noqa: PLC0415
    from outboxd.commands.main import main as run_command  # noqa: PLC0415

    load(sys.argv[1:])
    signals.interrupt_on_sigterm()
    run_command()


if __name__ == "__main__":
    main()
