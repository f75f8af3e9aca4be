"""isthmus: a WebSocket gateway that joins two networks over the Web."""

__version__ = "0.1.0"
"""The one place where the version is written; the package's metadata is read from here."""
