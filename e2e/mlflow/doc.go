// Package mlflow has a stock MLflow client speak to millrace serve, and millrace import the models of a real MLflow server: make mlflow.
package mlflow
