package mlflow

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"

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
	Method  string
	Path    string // as http.ServeMux has it
	Role    auth.Role
	Summary string // one sentence, without a full stop, for the documentation
	Handler http.Handler
}

// The prefixes of paths. Those of MLflow's own pages, /ajax-api/..., are not there: no client uses them.
const (
	registryPrefix  = "/api/2.0/mlflow/"
	artifactsPrefix = "/api/2.0/mlflow-artifacts/artifacts"
	infoPath        = "/api/3.0/mlflow/server-info"
)

// Routes returns what the server answers.
func (s *Server) Routes() []Route {
	const get, post, patch, del = http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete
	var routes []Route
	add := func(method, path string, role auth.Role, summary string, h http.Handler) {
		routes = append(routes, Route{Method: method, Path: path, Role: role, Summary: summary, Handler: h})
	}
	for _, c := range []struct {
		method, path string
		role         auth.Role
		summary      string
		answer       endpoint
	}{
		{get, "registered-models/get", auth.Viewer, "Shows a model to MLflow clients", s.getModel},
		{get, "registered-models/search", auth.Viewer, "Finds models for MLflow clients", s.searchModels},
		{get, "registered-models/get-latest-versions", auth.Viewer, "Shows the newest version of each stage to MLflow clients", s.latestVersions},
		{post, "registered-models/get-latest-versions", auth.Viewer, "Shows the newest version of each stage to MLflow clients", s.latestVersions},
		{get, "registered-models/alias", auth.Viewer, "Shows the version that an alias stands for to MLflow clients", s.byAlias},
		{get, "model-versions/get", auth.Viewer, "Shows a version to MLflow clients", s.getVersion},
		{get, "model-versions/search", auth.Viewer, "Finds versions for MLflow clients", s.searchVersions},
		{get, "model-versions/get-download-uri", auth.Viewer, "Tells MLflow clients where the files of a version are", s.downloadURI},

		{patch, "registered-models/update", auth.Author, "Describes a model, as MLflow clients do", s.describeModel},
		{post, "registered-models/set-tag", auth.Author, "Sets a tag of a model, as MLflow clients do", s.tagModel},
		{del, "registered-models/delete-tag", auth.Author, "Removes a tag of a model, as MLflow clients do", s.untagModel},
		{post, "registered-models/alias", auth.Author, "Has an alias stand for a version, as MLflow clients do", s.setAlias},
		{del, "registered-models/alias", auth.Author, "Removes an alias, as MLflow clients do", s.deleteAlias},
		{patch, "model-versions/update", auth.Author, "Describes a version, as MLflow clients do", s.describeVersion},
		{post, "model-versions/set-tag", auth.Author, "Sets a tag of a version, as MLflow clients do", s.tagVersion},
		{del, "model-versions/delete-tag", auth.Author, "Removes a tag of a version, as MLflow clients do", s.untagVersion},

		{post, "registered-models/create", auth.Author, "Refuses to create a model, and says what does", s.createModel},
		{post, "registered-models/rename", auth.Author, "Refuses to rename a model", s.renameModel},
		{del, "registered-models/delete", auth.Author, "Refuses to delete a model, and says what there is instead", s.deleteModel},
		{post, "model-versions/create", auth.Author, "Refuses to create a version, and says what does", s.createVersion},
		{del, "model-versions/delete", auth.Author, "Refuses to delete a version, and says what there is instead", s.deleteVersion},
		{post, "model-versions/transition-stage", auth.Author, "Refuses to move a version to another stage, and says what does", s.transition},
	} {
		add(c.method, registryPrefix+c.path, c.role, c.summary, s.handle(c.answer))
	}
	for _, method := range []string{get, post, patch, del} {
		role := auth.Author
		if method == get {
			role = auth.Viewer
		}
		add(method, registryPrefix+"{call...}", role, "Refuses all other calls of MLflow clients", http.HandlerFunc(s.unknown))
	}
	add(get, infoPath, auth.Viewer, "Tells MLflow clients what the server can do", s.handle(serverInfo))
	add(get, artifactsPrefix, auth.Viewer, "Lists the files of a version for MLflow clients", s.handle(s.listFiles))
	add(get, artifactsPrefix+"/{path...}", auth.Viewer, "Sends a file of a version to MLflow clients", http.HandlerFunc(s.sendFile))
	for _, method := range []string{http.MethodPut, del} {
		add(method, artifactsPrefix+"/{path...}", auth.Author, "Refuses to change files", http.HandlerFunc(s.keepFiles))
	}
	return routes
}

// endpoint answers one call: what it returns is sent as JSON.
type endpoint func(ctx context.Context, r *request) (any, error)

// handle returns the handler of a call.
func (s *Server) handle(answer endpoint) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r, err := readRequest(req)
		if err != nil {
			s.refuse(w, req, err)
			return
		}
		a, err := answer(req.Context(), r)
		if err != nil {
			s.refuse(w, req, err)
			return
		}
		writeJSON(w, http.StatusOK, a)
	})
}

// refuse answers that something was not done.
func (s *Server) refuse(w http.ResponseWriter, req *http.Request, err error) {
	e := asError(err)
	if e.Code == Internal && req.Context().Err() == nil {
		s.log.LogAttrs(req.Context(), slog.LevelError, "a request of an MLflow client has failed", slog.String("route", req.Pattern), slog.Any("error", err))
	}
	WriteError(w, e)
}

// WriteError answers with an error as MLflow clients want it.
func WriteError(w http.ResponseWriter, e *Error) { writeError(w, e.Code.Status(), e) }

// WriteStatus answers for whatever stands before a [Server], with a status of HTTP and the code that fits it.
func WriteStatus(w http.ResponseWriter, status int, message string) {
	writeError(w, status, &Error{CodeOf(status), message})
}

func writeError(w http.ResponseWriter, status int, e *Error) {
	writeJSON(w, status, struct {
		Code    Code   `json:"error_code"`
		Message string `json:"message"`
	}{e.Code, e.Message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("mlflow: " + err.Error()) // it is made of text and numbers
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that has gone is told nothing
}

// unknown answers a call that this server does not have.
func (s *Server) unknown(w http.ResponseWriter, req *http.Request) {
	s.refuse(w, req, failed(NoEndpoint, "there is no %s %.100s here: millrace answers the calls of MLflow's model registry; experiments, runs, traces and webhooks are kept by an MLflow server",
		req.Method, req.URL.Path))
}

// serverInfo says that there is nothing of what clients ask about.
func serverInfo(context.Context, *request) (any, error) {
	return map[string]any{
		"store_type": "Millrace", "workspaces_enabled": false, "trace_archival_enabled": false,
		"multipart_uploads_enabled": false, "multipart_downloads_enabled": false,
	}, nil
}

// model returns the model that a call names.
func (s *Server) model(ctx context.Context, r *request) (*Model, error) {
	name, err := text(r.Name, "name")
	if err != nil {
		return nil, err
	}
	models, err := s.store.Models(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(models, func(m Model) bool { return m.Name == name })
	if i < 0 {
		return nil, failed(Missing, "there is no registered model %.80q", name)
	}
	return &models[i], nil
}

// version returns the version that a call names, and its model.
func (s *Server) version(ctx context.Context, r *request) (*Model, *Version, error) {
	n, err := r.number()
	if err != nil {
		return nil, nil, err
	}
	m, err := s.model(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	v, err := m.at(n)
	return m, v, err
}

// at returns version n of the model.
func (m *Model) at(n int) (*Version, error) {
	i := slices.IndexFunc(m.Versions, func(v Version) bool { return v.Number == n })
	if i < 0 {
		return nil, failed(Missing, "there is no version %d of the model %s", n, m.Name)
	}
	return &m.Versions[i], nil
}
