"""What an application adds to the outbox: a table of its own, and the procedures that handle its business types."""

from tests.kit.session import Session

RECORD = "INSERT INTO app_effects (message, payload) VALUES (p_id, p_payload)"
PARAMETERS = "p_id BIGINT UNSIGNED, p_payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin"


class Application:
    """Creates handlers and shows their effects; remove() takes everything away again."""

    def __init__(self, db: Session) -> None:
        """Create the application's table."""
        self._db = db
        self._handlers: list[str] = []
        db.execute(
            "DROP TABLE IF EXISTS app_effects;"
            "CREATE TABLE app_effects ("
            " id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,"
            " message BIGINT UNSIGNED NOT NULL,"
            " payload LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_bin NULL)"
        )

    def handler(self, body: str = RECORD, *, parameters: str = PARAMETERS, name: str = "app_handler") -> str:
        """Create a handler procedure."""
        quoted = "`" + name.replace("`", "``") + "`"
        self._handlers.append(quoted)
        self._db.execute(f"CREATE PROCEDURE {quoted} ({parameters}) BEGIN {body}; END")
        return name

    def business(self, biz_type: str, body: str = RECORD, ordering: str = "key", **policy: int) -> None:
        """Create a handler and register a business type for it, both of this name."""
        self._db.register(biz_type, self.handler(body, name=biz_type), ordering, **policy)

    def effects(self) -> list[int]:
        """Return the messages that took effect, in order."""
        return self._db.column("SELECT message FROM app_effects ORDER BY id")

    def remove(self) -> None:
        """Drop the table and all handlers."""
        self._db.execute(
            "".join(f"DROP PROCEDURE IF EXISTS {name};" for name in self._handlers) + "DROP TABLE app_effects"
        )
