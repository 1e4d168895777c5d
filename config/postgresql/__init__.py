"""Django's backend for PostgreSQL, whose pool looks at a connection without asking the server."""
