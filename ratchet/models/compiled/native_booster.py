"""A LightGBM booster behind LightGBM's own C interface: no lightgbm, pandas or scikit-learn is imported.

The functions are those of `LightGBM/c_api.h`. The Python package is only asked where its shared library lies.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt

from ratchet.core.errors import DataError, SettingsError

Floats = npt.NDArray[np.float64]
_FLOAT64, _ROW_MAJOR = 1, 1
_NORMAL, _RAW, _CONTRIBUTIONS = 0, 1, 3
_ALL_TREES = (0, -1)
"""The first tree, and how many of them: all."""
_ONE_THREAD = b"num_threads=1"
"""Threads cost more than they save for few rows, and the service has a process for each core."""


class NativeBooster:
    """A booster with one output: a regression, or a binary classifier, whose output is the probability of 1.

    Rows are float64, shape (n, width), with NaN for what is missing. Several threads may use it at once, but `predict_one` only
    one of them.
    """

    def __init__(self, text: bytes) -> None:
        """`text` is what LightGBM's `model_to_string` gives. Raises DataError if it is none, or has several outputs."""
        handle, iterations = ctypes.c_void_p(), ctypes.c_int()
        _call("LGBM_BoosterLoadModelFromString", text, ctypes.byref(iterations), ctypes.byref(handle))
        finalize(self, _library().LGBM_BoosterFree, handle)
        self._handle = handle
        if self._number("LGBM_BoosterGetNumClasses") != 1:
            raise DataError(
                "has several outputs", subject="the booster", remedy="Train a regression or a binary classifier"
            )
        self.width = self._number("LGBM_BoosterGetNumFeature")
        found = re.search(rb"^objective=(\w+)", text, re.MULTILINE)
        self.objective = found[1].decode() if found else ""
        """LightGBM's name of it."""
        self._fast = self._fast_config()
        self._written = ctypes.byref(ctypes.c_int64())
        self._predict_one = _library().LGBM_BoosterPredictForMatSingleRowFast

    def predict_one(self, row: Floats) -> float:
        """The prediction for one row, shape (width,), contiguous. LightGBM prepared this call when the booster was loaded."""
        result = ctypes.c_double()
        if self._predict_one(self._fast, row.ctypes.data, self._written, ctypes.byref(result)):
            raise _error()
        return result.value

    def predict(self, rows: Floats) -> Floats:
        """One prediction for each row, shape (n,)."""
        return self._for_rows(rows, _NORMAL, 1)[:, 0]

    def raw(self, rows: Floats) -> Floats:
        """The sum of the trees for each row, before the objective makes a prediction of it, shape (n,)."""
        return self._for_rows(rows, _RAW, 1)[:, 0]

    def contributions(self, rows: Floats) -> Floats:
        """What each column adds to the raw prediction, and last the base value (SHAP values), shape (n, width + 1)."""
        return self._for_rows(rows, _CONTRIBUTIONS, self.width + 1)

    def _for_rows(self, rows: Floats, kind: int, outputs: int) -> Floats:
        rows = np.ascontiguousarray(rows, np.float64)
        results = np.empty((len(rows), outputs))
        if len(rows):
            shape = (ctypes.c_int32(len(rows)), ctypes.c_int32(rows.shape[1]), _ROW_MAJOR)
            data, out = ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(results.ctypes.data)
            written = ctypes.byref(ctypes.c_int64())
            _call(
                *("LGBM_BoosterPredictForMat", self._handle, data, _FLOAT64, *shape, kind, *_ALL_TREES),
                *(_ONE_THREAD, written, out),
            )
        return results

    def _fast_config(self) -> ctypes.c_void_p:
        config = ctypes.c_void_p()
        _call(
            *("LGBM_BoosterPredictForMatSingleRowFastInit", self._handle, _NORMAL, *_ALL_TREES, _FLOAT64),
            *(ctypes.c_int32(self.width), _ONE_THREAD, ctypes.byref(config)),
        )
        finalize(self, _library().LGBM_FastConfigFree, config)
        return config

    def _number(self, function: str) -> int:
        found = ctypes.c_int()
        _call(function, self._handle, ctypes.byref(found))
        return found.value


@cache
def _library() -> ctypes.CDLL:
    package = find_spec("lightgbm")
    if package is None or package.origin is None:
        raise SettingsError("is not installed", subject="lightgbm", remedy="Install it: `pip install lightgbm`")
    library = ctypes.CDLL(str(Path(package.origin).parent / "lib" / "lib_lightgbm.so"))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    library.LGBM_BoosterPredictForMatSingleRowFast.argtypes = [ctypes.c_void_p] * 4
    return library


def _call(function: str, *arguments: Any) -> None:
    if getattr(_library(), function)(*arguments):
        raise _error()


def _error() -> DataError:
    reason = _library().LGBM_GetLastError().decode(errors="replace")
    return DataError(
        f"LightGBM refuses it ({reason})", subject="the booster", remedy="Train the model again, or roll back"
    )
