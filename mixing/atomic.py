"""Files that are either the old one or the new one, never a half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mixing.errors import MixlawError


def replace_files(contents: Mapping[Path, bytes]) -> None:
    """Replace files by `contents`; none is touched before all are on disk.

    Every file is written under a temporary name in its own folder and synced before the first is renamed, so
    that a full disk leaves the old files as they were. Raises MixlawError, naming the file, where it fails.
    """
    temporary: dict[Path, Path] = {}
    path = Path()
    try:
        for path, content in contents.items():
            handle, name = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".partial", dir=path.parent)
            temporary[path] = Path(name)
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes private files; a spec or a blend is read by other people's jobs.
            os.chmod(name, 0o666 & ~_umask())
        for path, partial in temporary.items():
            os.replace(partial, path)
    except OSError as error:
        raise MixlawError(
            f"{path}: cannot be written: {error.strerror or error}",
            "Check that the folder exists, is writable and has room; nothing was changed",
        ) from error
    finally:
        for partial in temporary.values():
            with contextlib.suppress(OSError):
                partial.unlink()


def _umask() -> int:
    # Python has no way to read the umask without setting it.
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
