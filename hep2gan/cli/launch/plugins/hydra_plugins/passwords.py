"""Passwords in the addresses of databases, kept out of what is printed."""

import logging
import re

_IN_ADDRESS = re.compile(r"(/[^\s:/@]*):[^\s/@]+@")


def without_passwords(text: str) -> str:
    """A text in which each address has *** for its password.

    >>> without_passwords("postgresql://me:secret@host/studies")
    'postgresql://me:***@host/studies'
    """
    return _IN_ADDRESS.sub(r"\1:***@", text)


class WithoutPasswords(logging.Filter):
    """Lets every message of a logger through, `without_passwords`."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Called by logging."""
        record.msg, record.args = without_passwords(record.getMessage()), ()
        return True
