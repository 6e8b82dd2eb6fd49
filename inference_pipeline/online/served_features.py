"""The features that releases of a use case read, one release after the other."""

from __future__ import annotations

from inference_pipeline.online.release import Release
from ratchet.feature_store.online_features import OnlineFeatures
from ratchet.feature_store.online_store import online_store
from ratchet.project.run import Run


class ServedFeatures:
    """Releases with the same views share a connection to the online store, and the rows that were read through it.

    A connection of each release would stay open for long after it: one of SQLite refers to itself, and one of Redis belongs to
    the event loop.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._read: object = None
        self._features: OnlineFeatures | None = None
        self._replaced: list[OnlineFeatures] = []
        self._closing: list[OnlineFeatures] = []

    def of(self, release: Release) -> OnlineFeatures:
        """What a release reads. Call it when nothing else of the release can fail."""
        read = (release.feast_project, release.views, release.lookups)
        if self._features is None or read != self._read:
            if self._features:
                self._replaced.append(self._features)
            self._features, self._read = self._opened(release), read
        return self._features

    def close_replaced(self) -> None:
        """Close the connections that no release uses since before the last call: requests that began with one have ended.

        Call it every few seconds, in the thread of the event loop, to which the connections belong.
        """
        for features in self._closing:
            features.close()
        self._closing, self._replaced = self._replaced, []

    def _opened(self, release: Release) -> OnlineFeatures:
        run = self._run
        store = online_store(run.environment, run.paths.state, release.feast_project)
        reader = store.reader(release.views)
        return OnlineFeatures(release.views, release.lookups, reader, run.settings.serving.tolerance)
