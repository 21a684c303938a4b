"""The commands as a person sees them: what they print, with all that a terminal would obey still in it."""

from collections.abc import Callable

from click.testing import CliRunner, Result

from outboxd.commands.main import cli
from tests.kit.command import environment

OnTerminal = Callable[..., Result]


def on_terminal(mysql_url: str) -> OnTerminal:
    """Call commands inside this process; click leaves every order in the output, as it does for a terminal."""
    settings = environment({"mysql_url": mysql_url})

    def call(*arguments: str, stdin: bytes = b"") -> Result:
        return CliRunner().invoke(cli, arguments, input=stdin, env=settings, color=True)

    return call
