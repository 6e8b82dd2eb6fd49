"""What the feature, training and inference pipelines share; it imports none of them.

Its folders are rooms, each of which imports only rooms before it: core, use_case, storage, project, sources, features,
feature_store, models, gate, model_registry, prediction_log. `make contracts` holds them to it.
"""
