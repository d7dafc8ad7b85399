"""The embedded log: a SQLite database in the data folder."""
