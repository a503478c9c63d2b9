package mlflow

import (
	"context"
	"errors"
	"log/slog"
	"net/http"

	"millrace.dev/internal/auth"
)

// Options are the options of [New].
type Options struct {
	Store Store
	// Log is told of what has failed, and why; clients are not. Default: slog.DiscardHandler
	Log *slog.Logger
}

// Server answers MLflow clients. It is safe for concurrent use.
type Server struct {
	store   Store
	log     *slog.Logger
	bundles chan struct{} // a place for each bundle that is in memory
}

// mostBundles is how many bundles are sent at once; others wait.
const mostBundles = 4

// New returns a server.
func New(o Options) (*Server, error) {
	if o.Store == nil {
		return nil, errors.New("mlflow: there is no registry")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{store: o.Store, log: o.Log, bundles: make(chan struct{}, mostBundles)}, nil
}

// Route is a path that a [Server] answers.
type Route struct {
	Method  string // "" is all that no other route of the path has
	Path    string // as http.ServeMux has it
	Role    auth.Role
	Handler http.Handler
}

// endpoint answers one call: what it returns is sent as JSON.
type endpoint func(ctx context.Context, r *request) (any, error)
