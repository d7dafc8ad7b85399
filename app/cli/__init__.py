"""The command line `imagegate`, a file per command."""
