"""Every error keronyx raises on purpose.

    KeronyxError                exit code 1
      UsageError                exit code 2: the command line asks for something that does not exist
      SourceError               the model cannot be loaded
        UntrustedModelError     loading it would execute code that came with it
      ExportError               the model loads, but cannot be converted
      DataError                 the images cannot be read or do not fit the model
      UnwritableError               a result cannot be written, or would overwrite something
      ReportError               a report file cannot be read
      WorkerError               the isolated process of one row failed; costs that row alone
        WorkerTimeoutError      it did not answer in time
        WorkerMemoryError       it was killed for its memory
      UnavailableError          a runtime or provider cannot run here

The message says what happened, `remedy` what to do next. Both are one line each.
"""


class KeronyxError(Exception):
    """Base of all errors below.

    Args:
        message: what happened, one line.
        remedy: what the reader can do next, one line; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class UsageError(KeronyxError):
    """The command line names something that does not exist or contradicts itself."""

    exit_code = 2


class SourceError(KeronyxError):
    """The source cannot be loaded as a Keras model."""


class UntrustedModelError(SourceError):
    """Loading the source would execute code stored in the file."""


class ExportError(KeronyxError):
    """The model cannot be converted, or the converted file is not usable."""


class DataError(KeronyxError):
    """The input data cannot be read, or does not fit the model."""


class UnwritableError(KeronyxError):
    """A result cannot be written, or writing it would overwrite something."""


class ReportError(KeronyxError):
    """A report file is not one, is damaged, or has a schema this version cannot read."""


class WorkerError(KeronyxError):
    """A worker process crashed or reported an error."""


class WorkerTimeoutError(WorkerError):
    """A worker process did not answer in time and was killed."""


class WorkerMemoryError(WorkerError):
    """A worker process was killed for the memory it used."""


class UnavailableError(KeronyxError):
    """A runtime or provider cannot run on this machine; `message` is the reason."""
