#!/usr/bin/env python
"""Pairloop's command line."""

from __future__ import annotations

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.management import execute_from_command_line
        from django.db.utils import OperationalError, ProgrammingError
    except ModuleNotFoundError:
        sys.exit("Django is not installed: pip install -r requirements-web.txt")

    try:
        execute_from_command_line(sys.argv)
    except (OperationalError, ProgrammingError) as error:
        if "--traceback" in sys.argv:
            raise
        print(f"Database: {str(error).strip().splitlines()[0]}", file=sys.stderr)
        print(
            "Is it up and migrated? `manage.py migrate`, then `manage.py doctor`.", file=sys.stderr
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
