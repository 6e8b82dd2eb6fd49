"""Code that the feature, training and inference pipelines share. It imports none of them.

Its folders are called rooms. In this order, each imports only rooms before it: core, use_case, storage, code, sources,
features, feature_store, models, gate, model_registry, prediction_log, project. `make contracts` checks it.
"""
