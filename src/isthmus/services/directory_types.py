"""The Content-Type of a file, by what follows the last dot of its name (RFC 9110 section 8.3)."""

from __future__ import annotations

from collections.abc import Mapping

# A table of our own: the machine's would make answers depend on where isthmus runs.
_TEXT_TYPES = {
    "appcache": "text/cache-manifest",
    "aspx": "text/html",
    "css": "text/css",
    "csv": "text/csv",
    "htc": "text/x-component",
    "htm": "text/html",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "log": "text/plain",
    "manifest": "text/cache-manifest",
    "map": "application/json",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "svg": "image/svg+xml",
    "toml": "application/toml",
    "txt": "text/plain",
    "vtt": "text/vtt",
    "webmanifest": "application/manifest+json",
    "xhtml": "application/xhtml+xml",
    "xml": "application/xml",
    "xsl": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}
_BINARY_TYPES = {
    "avif": "image/avif",
    "br": "application/x-brotli",
    "bz2": "application/x-bzip2",
    "gif": "image/gif",
    "gz": "application/gzip",
    "ico": "image/vnd.microsoft.icon",
    "jar": "application/java-archive",
    "jnlp": "application/x-java-jnlp-file",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "ogg": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "swf": "application/x-shockwave-flash",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "webm": "video/webm",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xap": "application/x-silverlight-app",
    "zip": "application/zip",
    "zst": "application/zstd",
}
_UNKNOWN = "application/octet-stream"


def content_type(name: str, mappings: Mapping[str, str] | None = None) -> str:
    """Return the Content-Type for a file's name: as `mappings` say (by extension in lower case), else by the
    table, with its charset where the type is text.
    """
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    if mappings and extension in mappings:
        return mappings[extension]
    if extension in _TEXT_TYPES:
        return _TEXT_TYPES[extension] + "; charset=utf-8"
    return _BINARY_TYPES.get(extension, _UNKNOWN)
