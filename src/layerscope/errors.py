"""Failures that a caller would want to catch by name. Wrong arguments raise the builtins."""


class LayerscopeError(Exception):
    """Something about the network, the data or the run folder that stops a run. Nothing written is lost."""


class NonFiniteError(LayerscopeError):
    """A layer put out NaN or infinity."""


class RunMismatchError(LayerscopeError):
    """The run folder was made with other options, another network or other data."""


class CorruptFileError(LayerscopeError):
    """A file of the run folder is not what was written there."""


class FolderInUseError(LayerscopeError):
    """Another process writes to the folder."""


class StorageError(LayerscopeError, OSError):
    """The disk is full, or the folder can't be written."""


class AllWrongError(LayerscopeError, ValueError):
    """Every sample is answered wrong already, so that an attack has nothing to change."""


class TooLargeError(LayerscopeError, ValueError):
    """What is to be written can't be made as small as was asked."""


class AddressError(LayerscopeError, OSError):
    """The address that a server is to listen at is in use, or not to be had."""


class ProbeError(LayerscopeError, ValueError):
    """What was given to a probe can't be shown to the network; the text is for whoever gave it."""


def format_told(found: object, known: int, instead: str) -> str:
    """That something is in another format than this program reads, and what to do about it.

    Args:
        found: the format, as the file names it.
        known: the format that is read.
        instead: what to do where the file is older, or of no known format.
    """
    newest = "a newer Layerscope wrote it: install that (`pip install --upgrade layerscope`)"
    todo = newest if is_newer(found, known) else instead
    return f"format {found}, and this program reads format {known}; {todo}."


def is_newer(found: object, known: int) -> bool:
    """Whether a format is one of a later version."""
    return isinstance(found, int) and found > known
