"""What is wrong with a setting, in one text, with the key that was probably meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from pydantic import BaseModel

from ratchet.core.text import closest


def explain(model: type[BaseModel], problem: dict[str, Any], spelled: Callable[[str], str]) -> str:
    """One error of pydantic's; an unknown key comes with the known ones. `spelled` returns a key as it is written."""
    location = [str(part) for part in problem["loc"]]
    where = spelled(".".join(location)) if location else "the file"
    if problem["type"] != "extra_forbidden":
        return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
    known = _fields(model, location[:-1])
    near = closest(location[-1], known)
    hint = f"did you mean {spelled(near)!r}?" if near else f"known are {', '.join(map(spelled, known))}"
    return f"{where}: unknown key ({hint})"


def _fields(model: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = model.model_fields[part].annotation
        kinds = (annotation, *get_args(annotation))  # a model, or a model or None
        model = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    return list(model.model_fields)
