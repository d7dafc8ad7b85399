"""The queryable view of the events: a SQLite file that can be rebuilt at any time."""
