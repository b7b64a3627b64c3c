"""Watches an inbox's mark in the database: a webhook that is applied twice breaks its chain."""

from sqlalchemy import Connection, text

_SQLITE = (
    "CREATE TABLE noted (id INTEGER PRIMARY KEY, name TEXT, old TEXT, new TEXT)",
    "CREATE TRIGGER note AFTER UPDATE ON runtime WHEN NEW.name LIKE 'inbox:%' BEGIN "
    "INSERT INTO noted (name, old, new) VALUES (NEW.name, OLD.value, NEW.value); END",
)
_POSTGRES = (
    "CREATE TABLE noted (id SERIAL PRIMARY KEY, name TEXT, old TEXT, new TEXT)",
    "CREATE FUNCTION note() RETURNS trigger AS $$ BEGIN INSERT INTO noted (name, old, new) "
    "VALUES (NEW.name, OLD.value, NEW.value); RETURN NEW; END $$ LANGUAGE plpgsql",
    "CREATE TRIGGER note AFTER UPDATE ON runtime FOR EACH ROW "
    "WHEN (NEW.name LIKE 'inbox:%') EXECUTE FUNCTION note()",
)


def note_marks(db: Connection) -> None:
    """Have the database note each change of a mark."""
    for statement in _SQLITE if db.dialect.name == "sqlite" else _POSTGRES:
        db.execute(text(statement))


def broken_marks(db: Connection) -> int:
    """How often a mark was moved from somewhere else than where it was, or not forward."""
    rows = db.execute(text("SELECT name, old, new FROM noted ORDER BY id")).all()
    broken = 0
    marks: dict[str, str] = {}
    for name, old, new in rows:
        broken += marks.get(name, old) != old or _number(new) <= _number(old)
        marks[name] = new
    return broken


def _number(mark: str) -> int:
    return int(mark.strip("[").partition(",")[0])
