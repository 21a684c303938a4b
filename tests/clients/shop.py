"""The shop: what each client program does with it, and whether it was done.

A program gets SHOP_HOST, SHOP_PORT, SHOP_USER, SHOP_PASSWORD and SHOP_DATABASE, goes through the cases in their order,
and prints one JSON object for each. The checks read what is in the database then.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.installing import mysql_url
from tests.kit.server import Server
from tests.kit.session import Row, Session
from tests.servers.missing import skip_or_fail
from tests.servers.paths import CHECKOUT
from tests.servers.process import LOOPBACK

CACHE = CHECKOUT / ".cache" / "clients"
"""Where the dependencies of the programs are fetched to."""

USER, DIRECT_USER, PASSWORD = "shop", "shop_direct", "a'b\"c%d"
"""An account with the role outbox_app, one with the same rights granted to itself, and the password of both."""

_PATIENCE_S = 120
_INSTALL_S = 900

Said = dict[str, Any]

TABLES = """
CREATE TABLE shop_orders (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, customer VARCHAR(64) NOT NULL);
CREATE TABLE shop_lines (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, order_id BIGINT NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A database with outboxd, the shop's two tables, and the accounts of its applications."""

    server: Server
    database: str

    @property
    def url(self) -> str:
        """mysql_url of a daemon."""
        return mysql_url(self.server, self.database)

    def environment(self, user: str = USER) -> dict[str, str]:
        """What a program gets."""
        return {
            **os.environ,
            "SHOP_HOST": LOOPBACK,  # by "localhost" some drivers mean a socket
            "SHOP_PORT": str(self.server.port),
            "SHOP_USER": user,
            "SHOP_PASSWORD": PASSWORD,
            "SHOP_DATABASE": self.database,
        }

    def clean(self) -> None:
        """Take away what another program has left."""
        with self.server.connect(self.database) as db:
            db.clean()
            db.execute("DELETE FROM shop_orders; DELETE FROM shop_lines")
            db.call("outbox_set_max_payload_bytes_v1", 4 << 20)

    def run(
        self,
        command: Sequence[str | Path],
        folder: Path,
        user: str = USER,
        variables: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Run a program, with further variables of its environment; returns what it has printed."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment(user) | dict(variables or {}),
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def check(self, command: Sequence[str | Path], folder: Path, user: str = USER) -> None:
        """Run a program, and check all its cases; what is wrong is said together."""
        self.clean()
        said = self.run(command, folder, user)
        with self.server.connect(self.database) as db:
            wrong = problems(db, {line.pop("case"): line for line in said})
        assert not wrong, "\n".join(wrong)


def problems(db: Session, said: dict[str, dict[str, Any]]) -> list[str]:
    """What the cases of a program have got wrong."""
    found = [f"no case {name}" for name in CASES if name not in said]
    for name, check in CASES.items():
        if name in said:
            try:
                check(db, said[name])
            except (AssertionError, KeyError, TypeError, ValueError) as error:
                found.append(f"{name}: {said[name]}: {error!r}")
    return found


def _messages(db: Session, key: str) -> list[Row]:
    return db.rows("SELECT * FROM agent_outbox_messages WHERE message_key = %s ORDER BY id", key)


def _orders(db: Session, customer: str) -> list[int]:
    return [int(id_) for id_ in db.column("SELECT id FROM shop_orders WHERE customer = %s", customer)]


def _has(db: Session, key: str, *ids: int) -> None:
    """The messages of a key are these, of the shop's type and topic, and valid."""
    rows = _messages(db, key)
    assert [row["id"] for row in rows] == list(ids), rows
    assert {(row["biz_type"], row["topic"], row["status"]) for row in rows} == {("shop.order", "shop", "pending")}


def _commit(db: Session, said: Said) -> None:
    _has(db, "Ada", said["id"])
    assert len(_orders(db, "Ada")) == 1
    assert _orders(db, "") == []  # an order whose message was refused before: Ada's commit must not commit it


def _rollback(db: Session, said: Said) -> None:
    assert said["id"] > 0
    assert (_messages(db, "Bob"), _orders(db, "Bob")) == ([], [])


def _batch(db: Session, said: Said) -> None:
    assert said["enqueued"] == len(_messages(db, "Cleo")) == 3
    assert len(_orders(db, "Cleo")) == 1


def _dedup(db: Session, said: Said) -> None:
    first, second = said["ids"]
    assert first == second
    _has(db, "Dora", first)


def _large(db: Session, said: Said) -> None:
    _has(db, "Eve", said["id"])
    payload = bytes.fromhex(db.value("SELECT HEX(payload) FROM agent_outbox_messages WHERE id = %s", said["id"]))
    assert len(payload) >= 1 << 20
    assert hashlib.sha256(payload).hexdigest() == said["sha256"]
    text = payload.decode()
    assert any(ord(letter) > 0xFFFF for letter in text)
    assert all(letter in text for letter in ('\\"', "\\\\", "'"))


def _refused(_: Session, said: Said) -> None:
    assert said["errno"] == 30001
    assert "p_topic must not be empty" in said["message"]


def _prepared(db: Session, said: Said) -> None:
    assert len(set(said["ids"])) == 3
    _has(db, "Gus", *said["ids"])


def _pool(db: Session, said: Said) -> None:
    first, second = said["ids"]
    assert first < second
    assert len(db.rows("SELECT id FROM agent_outbox_messages WHERE id IN (%s, %s)", first, second)) == 2


def _last_insert_id(db: Session, said: Said) -> None:
    assert said["order"] == said["line_order"]
    assert db.column("SELECT order_id FROM shop_lines") == [said["order"]]


CASES: dict[str, Callable[[Session, Said], None]] = {
    "commit": _commit,
    "rollback": _rollback,
    "batch": _batch,
    "dedup": _dedup,
    "large": _large,
    "refused": _refused,
    "prepared": _prepared,
    "pool": _pool,
    "last_insert_id": _last_insert_id,
}


def need(*programs: str) -> None:
    """Skip the test where a toolchain is missing; in CI that is a failure."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        skip_or_fail(f"not installed: {', '.join(missing)}")


def install(command: Sequence[str | Path], folder: Path, **environment: str) -> None:
    """Fetch or build a language's dependencies; what it says is shown where it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
