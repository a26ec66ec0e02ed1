"""Passwords, and mosquitto's file of their hashes."""

from __future__ import annotations

import base64
import hashlib
import secrets

ITERATIONS = 1_000
"""The passwords are random, 160 bits: stretching them is for those of people, and would hold the broker up."""
SALT = 12  # bytes; mosquitto 2.0 reads no other length


def fresh() -> str:
    """A password that nobody guesses."""
    return secrets.token_urlsafe(20)


def line(login: str, password: str) -> str:
    """A line of mosquitto's password file: PBKDF2 with SHA-512."""
    salt = secrets.token_bytes(SALT)
    found = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"{login}:$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(found).decode()}"


def fits(known: str, password: str) -> bool:
    """Whether a line is of this password. Lines of other kinds than ours fit none."""
    try:
        kind, iterations, salt, stored = known.partition(":")[2].split("$")[1:]
        found = hashlib.pbkdf2_hmac("sha512", password.encode(), base64.b64decode(salt), int(iterations))
        return kind == "7" and secrets.compare_digest(found, base64.b64decode(stored))
    except ValueError:
        return False
