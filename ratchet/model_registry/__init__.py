"""The model registry, through MLflow.

opening, registry, version, tags → the registered model: versions, aliases, files · embedded → the database in state/
admission → may a version serve · promotion → who asks, and what follows · champion → what serves
promotion_history → which version served when, signed · status → for people
mlflow_logging → runs and versions · model_card → a version's page · sensors, sensor_files → what changed since the last run
"""
