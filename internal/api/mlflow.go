package api

import (
	"net/http"

	"millrace.dev/internal/mlflow"
	"millrace.dev/internal/server"
)

// mlflowRoutes are the calls of MLflow's model registry; none where there is no server of them.
func (a *API) mlflowRoutes() []server.Route {
	if a.options.MLflow == nil {
		return nil
	}
	var routes []server.Route
	for _, r := range a.options.MLflow.Routes() {
		body := int64(mlflow.MaxBody)
		if r.Method == http.MethodGet {
			body = -1 // none
		}
		routes = append(routes, server.Route{Method: r.Method, Pattern: r.Path, Role: r.Role, Summary: r.Summary, Handler: r.Handler, MaxBody: body, Error: mlflowError})
	}
	return routes
}

// mlflowError answers for the server as MLflow clients expect it.
func mlflowError(w http.ResponseWriter, _ *http.Request, status int, message string) {
	mlflow.WriteStatus(w, status, message)
}
