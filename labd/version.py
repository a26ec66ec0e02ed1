"""The version of this labd, as installed."""

from importlib.metadata import version

VERSION = version("labd")
