// Package airflow has a real Airflow run the DAG of examples/airflow: make airflow.
package airflow
