"""The program `outboxd`."""

from outboxd import signals


def main() -> None:
    """Run the command line. What it imports takes a while, in which SIGTERM ends the process already."""
    signals.end_on_sigterm()

    from outboxd.commands.main import main as run_command  # noqa: PLC0415

    signals.interrupt_on_sigterm()
    run_command()


if __name__ == "__main__":
    main()
