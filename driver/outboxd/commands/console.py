"""`outboxd console`: the web console."""

from collections.abc import Mapping

import click

from outboxd.commands.options import MYSQL, with_databases
from outboxd.settings import Settings

_KAFKA = ("kafka_bootstrap", "kafka_options", "name", "source", "group")


def _address(_: click.Context, __: click.Parameter, value: str) -> tuple[str, int]:
    host, _colon, port = value.rpartition(":")
    if not (host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise click.BadParameter("must look like 127.0.0.1:9480 or [::1]:9480")
    return host.strip("[]"), int(port)


@click.command()
@click.option(
    "--listen", default="127.0.0.1:9480", show_default=True, callback=_address, help="host:port, port 0 for any"
)
@click.option(
    "--tls-certificate", type=click.Path(exists=True, dir_okay=False), help="PEM file of the chain; serves TLS"
)
@click.option("--tls-key", type=click.Path(exists=True, dir_okay=False), help="PEM file of its key")
@click.option("--host", "names", multiple=True, metavar="NAME", help="its host name in browsers, repeatable")
@click.option("--plain-http", is_flag=True, help="serve without TLS on an address that others reach")
@click.option("--behind-tls", is_flag=True, help="a proxy in front of it serves TLS: cookies are for TLS alone")
@with_databases(*MYSQL, *_KAFKA)
def console(
    databases: Mapping[str, Settings],
    listen: tuple[str, int],
    tls_certificate: str | None,
    tls_key: str | None,
    names: tuple[str, ...],
    plain_http: bool,
    behind_tls: bool,
) -> None:
    """Serve the web console: people log in with MySQL accounts of their own, whose roles decide what they see and may.

    Of a fleet it serves all databases, each with a login of its own. Of mysql_url it uses host, port and database
    alone. It needs outboxd[console].
    """
    if bool(tls_certificate) != bool(tls_key):
        raise click.UsageError("--tls-certificate and --tls-key belong together")
    try:
        from outboxd.console import server  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("outboxd"):
            raise
        raise click.ClickException(f"{error.name} is missing: pip install 'outboxd[console]'") from error
    host, port = listen
    server.run(
        databases, server.Listening(host, port, tls_certificate or "", tls_key or "", names, plain_http, behind_tls)
    )
