"""The model registry, through MLflow.

model_registry → the door · open_registry, session → the registered model, opened: versions, aliases, files · version, tags →
the data of a version · embedded_database, logged_files → the database and the files in state/
admission → may a version serve? · promotion → requests and their results · champion → the version that serves
promotion_history → which version served when, signed · status → for people
mlflow_logging → runs and versions · model_card → a version's page · sensors, changes → changes since the last run
logged_models → what MLflow holds, and the removal of what nothing needs
"""
