"""The model registry, through MLflow.

registry → versions, aliases and tags · promotion → who may serve · promotion_history → which version served when, signed ·
mlflow_logging → runs and versions · model_card → a version's page · embedded → the database in state/ ·
sensors, sensor_files → what changed since the last run
"""
