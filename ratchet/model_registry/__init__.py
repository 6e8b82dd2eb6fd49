"""The model registry, through MLflow.

model_registry → the door · open_registry, session → the registered model, opened: versions, aliases, files · version, tags →
what a version says of itself · embedded_database, logged_files → the database and the files in state/
admission → may a version serve · promotion → who asks, and what follows · champion → what serves
promotion_history → which version served when, signed · status → for people
mlflow_logging → runs and versions · model_card → a version's page · sensors, changes → what changed since the last run
"""
