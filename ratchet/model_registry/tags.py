"""Names in the model registry: the aliases of a registered model, and the tags of its versions."""

from __future__ import annotations

REQUESTED, CHAMPION, PREVIOUS, CHALLENGER = "requested", "champion", "previous", "challenger"
CANDIDATE = "candidate"
"""The status of a version that nobody has asked for yet."""
WAIVER = "ratchet.waiver"
DIGEST, KIND, STATUS = "ratchet.digest", "ratchet.kind", "ratchet.status"
LOGGED = "ratchet.logged"
RECORD, VERDICT, FAILED = "ratchet.gate.record", "ratchet.verdict", "ratchet.failed"
REFIT_OF, CONFIRMATION = "ratchet.refit_of", "ratchet.confirmation"
"""On a refit: the digest of its judged model, and what later rows say about it."""
FINGERPRINT = "ratchet.fingerprint"
DATA_VERSION, FEATURES_VERSION = "ratchet.data_version", "ratchet.features_version"
COMMIT, DIRTY, EXPERIMENT = "ratchet.commit", "ratchet.dirty", "ratchet.experiment"
