package api

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/mlflow"
	"millrace.dev/internal/oip"
	"millrace.dev/internal/serve"
	"millrace.dev/internal/server"
)

// Options say what the routes speak of.
type Options struct {
	Models  *serve.Models
	Metrics http.Handler     // answers GET /metrics. Default: there is no such route
	Version string           // of millrace
	MLflow  *mlflow.Server   // answers MLflow clients. Default: there are no such routes
	Log     *slog.Logger     // takes what fails here and is no fault of a client. Default: nothing is logged
	Now     func() time.Time // Default: time.Now
	// MaxMessage bounds a message of gRPC once it is uncompressed, in bytes. Default: 64 MiB
	MaxMessage int
}

// API has the routes of millrace serve. Its handlers are safe for concurrent use.
type API struct {
	options Options
	models  *serve.Models
	now     func() time.Time
	log     *slog.Logger
	routes  []server.Route

	signatures signatures
	compressor oip.Compressor
}

// New returns the routes of models, which need not be started yet.
func New(o Options) (*API, error) {
	if o.Models == nil {
		return nil, errors.New("api: there are no models")
	}
	a := &API{options: o, models: o.Models, now: o.Now, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	if a.now == nil {
		a.now = time.Now
	}
	a.routes = append(a.routes, a.predictRoutes()...)
	a.routes = append(a.routes, a.oipRoutes()...)
	a.routes = append(a.routes, a.grpcRoutes()...)
	a.routes = append(a.routes, a.healthRoutes()...)
	a.routes = append(a.routes, a.mlflowRoutes()...)
	a.routes = append(a.routes, a.describeRoutes()...)
	unpacked := make(unpackers, mostUnpacked)
	for i := range a.routes {
		if a.routes[i].MaxBody >= 0 {
			a.routes[i].Handler = unpacked.wrap(a.routes[i].Handler)
		}
	}
	return a, nil
}

// Routes returns the routes.
func (a *API) Routes() []server.Route { return a.routes }

func (a *API) healthRoutes() []server.Route {
	routes := []server.Route{
		{
			Method: http.MethodGet, Pattern: "/livez", Role: auth.Anyone, Light: true, MaxBody: -1, Summary: "Tells that the process answers",
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "running\n") }),
		},
		{
			Method: http.MethodGet, Pattern: "/readyz", Role: auth.Anyone, Light: true, MaxBody: -1, Summary: "Tells whether requests should be sent here",
			Handler: http.HandlerFunc(a.readyz),
		},
	}
	if a.options.Metrics != nil {
		routes = append(routes, server.Route{
			Method: http.MethodGet, Pattern: "/metrics", Role: auth.Operator, Light: true, MaxBody: -1, Summary: "What was counted, for Prometheus",
			Handler: a.options.Metrics,
		})
	}
	return routes
}

func (a *API) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := a.models.Ready(); err != nil {
		status, why := Status(err)
		text(w, status, why+"\n")
		return
	}
	text(w, http.StatusOK, "ready\n")
}

func text(w http.ResponseWriter, status int, s string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(s)) // nobody to tell
}
