"""What a database consists of, for comparing two installations."""

import re

from tests.kit.session import Row, Session

_TABLES = {
    "tables": "table_name, table_type, engine, row_format, table_collation, create_options, table_comment",
    "columns": "table_name, ordinal_position, column_name, column_default, is_nullable, column_type,"
    " character_set_name, collation_name, extra, generation_expression, column_comment",
    "statistics": "table_name, index_name, seq_in_index, column_name, non_unique, sub_part, nullable, index_type,"
    " is_visible, expression",
    "table_constraints": "table_name, constraint_name, constraint_type, enforced",
    "views": "table_name, view_definition, check_option, is_updatable, security_type,"
    " character_set_client, collation_connection",
    "routines": "routine_name, routine_type, routine_definition, is_deterministic, sql_data_access, security_type,"
    " sql_mode, routine_comment, character_set_client, collation_connection, database_collation",
    "parameters": "specific_name, ordinal_position, parameter_mode, parameter_name, dtd_identifier,"
    " character_set_name, collation_name",
    "triggers": "trigger_name",
    "events": "event_name, event_definition, interval_value, interval_field, status, sql_mode",
}


def describe(session: Session) -> dict[str, list[Row]]:
    """Return all that the session's database consists of, without its name and who made it."""
    database = str(session.value("SELECT DATABASE()"))
    schema_of = {"routines": "routine_schema", "triggers": "trigger_schema", "events": "event_schema"}
    schema_of |= {"table_constraints": "constraint_schema", "parameters": "specific_schema"}
    description = {
        table: session.rows(
            f"SELECT {columns} FROM information_schema.{table}"
            f" WHERE {schema_of.get(table, 'table_schema')} = %s ORDER BY {', '.join(columns.split(', ')[:3])}",
            database,
        )
        for table, columns in _TABLES.items()
    }
    for view in description["views"]:
        view["VIEW_DEFINITION"] = view["VIEW_DEFINITION"].replace(f"`{database}`.", "")
    for routine in description["routines"]:
        routine["ROUTINE_DEFINITION"] = _without_comments(routine["ROUTINE_DEFINITION"])
    return description


def create_statements(session: Session) -> dict[str, str]:
    """Return SHOW CREATE PROCEDURE of every procedure, without the DEFINER that the server adds."""
    names = session.column("SELECT routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()")
    statements = {name: session.row(f"SHOW CREATE PROCEDURE {name}")["Create Procedure"] for name in names}
    return {
        name: _without_comments(re.sub(r" DEFINER=`[^`]*`@`[^`]*`", "", text, count=1))
        for name, text in statements.items()
    }


def _without_comments(code: str) -> str:
    """Leave out what the connector leaves out when it splits a script: lines of comment, and how the last one ends."""
    lines = [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("--")]
    return "\n".join(lines).removesuffix(";")
