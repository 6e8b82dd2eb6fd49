"""What the feature, training and inference pipelines share; it imports none of them.

Its folders are rooms, each of which imports only rooms before it: core, use_case, storage, code, sources, features,
feature_store, models, gate, model_registry, prediction_log, project. `make contracts` holds them to it.
"""
