"""Keeps the rows: tables, entities, migrations and queries, on SQLite and PostgreSQL."""
