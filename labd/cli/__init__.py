"""The command line, `labd`. It speaks /api/v1 over the daemon's Unix socket, and imports little: it starts fast."""

from labd.cli.app import main

__all__ = ["main"]
