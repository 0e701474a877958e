"""Finds the one pipeline of a file or module, for ``pydatatask -p FILE_OR_MODULE[:NAME]``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType

from pydatatask_core.pipeline.pipeline import Pipeline

from .errors import LoadError, did_you_mean

__all__ = ["load_pipeline"]

_MODULE = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


def load_pipeline(spec: str) -> Pipeline:
    """Load a file or module, and give the pipeline in it: the one called NAME, or the only one.

    :raises LoadError: if it cannot be loaded, or which pipeline is meant cannot be told.
    """
    place, _, name = spec.partition(":")
    is_file = _is_file(place)
    module = _load_file(Path(place)) if is_file else _load_module(place)
    pipeline = _named(module, name, place) if name else _only(module, place)
    if pipeline.script is None:
        # So that the lock is the same as where the script is run by itself.
        file = place if is_file else module.__file__
        pipeline.script = None if file is None else os.path.realpath(file)
    return pipeline


def _is_file(place: str) -> bool:
    # A package in the current folder is meant as a module; a folder cannot be loaded as a file anyway.
    return place.endswith(".py") or "/" in place or (Path(place).is_file() and not _MODULE.fullmatch(place))


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LoadError(f"Cannot load the pipeline: there is no file {path}.")
    path = path.resolve()
    # The name depends on the path alone, so that a worker process, which loads the same file, agrees on it.
    name = f"pydatatask_pipeline_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise LoadError(f"Cannot load the pipeline: {path} is no Python file.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    # A script's own folder is where its imports are.
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception | SystemExit):
            raise _failure(str(path), error) from error
        raise
    return module


def _load_module(name: str) -> ModuleType:
    if not _MODULE.fullmatch(name):
        raise LoadError(f"Cannot load the pipeline: {name!r} is neither a file nor a module name.")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise LoadError(f"Cannot load the pipeline: there is no module {name!r}, and no such file.") from error
        raise _failure(name, error) from error
    except (Exception, SystemExit) as error:
        raise _failure(name, error) from error


def _failure(what: str, error: BaseException) -> LoadError:
    if isinstance(error, SyntaxError):
        return LoadError(f"Cannot load the pipeline from {what}: {error.msg} ({error.filename}, line {error.lineno}).")
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return LoadError(f"Cannot load the pipeline from {what}: {type(error).__name__}: {error}{where}")


def _named(module: ModuleType, name: str, place: str) -> Pipeline:
    found = getattr(module, name, None)
    if isinstance(found, Pipeline):
        return found
    wrong = f"has no {name!r}" if found is None else f"has {name!r}, which is no Pipeline"
    raise LoadError(f"{place} {wrong}. {did_you_mean(name, _pipelines(module))}")


def _only(module: ModuleType, place: str) -> Pipeline:
    found = _pipelines(module)
    distinct = {id(pipeline): pipeline for pipeline in found.values()}
    if len(distinct) == 1:
        return next(iter(distinct.values()))
    if not distinct:
        raise LoadError(f"{place} holds no Pipeline. Make one a global of it: pipeline = Pipeline([...], session).")
    raise LoadError(f"{place} holds {len(distinct)} pipelines. Name one: {place}:{sorted(found)[0]}.")


def _pipelines(module: ModuleType) -> dict[str, Pipeline]:
    return {name: value for name, value in vars(module).items() if isinstance(value, Pipeline)}
