"""The SQL database: engine, schema, migrations."""
