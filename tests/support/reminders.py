"""A use case beside the second one, which declares the same table and the same view as it does, without copying them."""

from __future__ import annotations

from dataclasses import replace

from tests.support import noshow

use_case = replace(noshow.use_case, name="reminders")
