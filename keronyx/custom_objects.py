"""Classes of the user's own that a Keras file needs in order to load, named on the command line."""

from __future__ import annotations

import importlib
import os
import sys
from types import FunctionType
from typing import Any

from keronyx.errors import SourceError
from keronyx.process import first_line


def import_module(name: str) -> Any:
    """Import a module of the user's, looked for in the current folder too. Raises SourceError."""
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise SourceError(f"cannot import {name!r}: {first_line(error)}", f"searched {os.getcwd()} too") from error


def import_custom_objects(where: str | None) -> dict[str, Any]:
    """The dictionary at `module:attribute`; for a bare `module` the classes and functions it defines; {} for None.

    Several are separated by commas; a later one wins.
    """
    if where is None:
        return {}
    if "," in where:
        return {name: thing for part in where.split(",") for name, thing in import_custom_objects(part).items()}
    module, _, attribute = where.partition(":")
    found = import_module(module)
    if not attribute:
        return {
            name: thing
            for name, thing in vars(found).items()
            if isinstance(thing, type | FunctionType) and thing.__module__ == found.__name__
        }
    objects = getattr(found, attribute, None)
    if not isinstance(objects, dict):
        raise SourceError(f"--custom-objects {where}: not a dictionary of name -> class")
    return objects
