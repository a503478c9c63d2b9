package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"millrace.dev/internal/mlflow"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/remote"
	"millrace.dev/internal/secret"
)

// The environment variables of MLflow's own clients that are read.
const (
	trackingVariable = "MLFLOW_TRACKING_URI"
	tokenVariable    = "MLFLOW_TRACKING_TOKEN"    //nolint:gosec // it is the name of a variable
	userVariable     = "MLFLOW_TRACKING_USERNAME" //nolint:gosec // likewise
	passwordVariable = "MLFLOW_TRACKING_PASSWORD" //nolint:gosec // likewise
)

// mlflowPatience is how long an MLflow server may take to begin an answer.
const mlflowPatience = 30 * time.Second

// Fetched is a model of an MLflow server, which is not imported yet.
type Fetched struct{ f *mlflow.Fetched }

// IsMLflow tells whether a text names a model of an MLflow server: mlflow://HOST/MODEL, mlflow+https://HOST/MODEL or models:/MODEL.
func IsMLflow(text string) bool { return mlflow.IsReference(text) }

// FetchMLflow fetches a version of a model of an MLflow server, by the rules of [remote.NewTransport] for its address. The environment
// has what MLflow's own clients look for there. Nothing of what comes is executed.
func (a *App) FetchMLflow(ctx context.Context, reference string) (*Fetched, error) {
	const op = "model import"
	fail := func(code Code, where string, err error, hint string) (*Fetched, error) {
		return nil, &Error{Code: code, Op: op, Where: where, Err: err, Hint: hint}
	}
	r, err := mlflow.ParseReference(reference, a.variable(trackingVariable))
	if err != nil {
		return fail(Usage, "", err, "")
	}
	where := r.URL
	transport, err := remote.NewTransport(r.URL, mlflowPatience)
	if err != nil {
		return fail(Usage, where, cause(err), "")
	}
	if t, ok := transport.(interface{ CloseIdleConnections() }); ok {
		defer t.CloseIdleConnections()
	}
	c, err := mlflow.NewClient(mlflow.ClientOptions{
		URL: r.URL, Transport: transport, User: a.variable(userVariable), Password: secret.New(a.variable(passwordVariable)), Token: secret.New(a.variable(tokenVariable)),
	})
	if err != nil {
		return fail(Usage, where, err, "name the server with mlflow+https://")
	}
	f, err := c.Fetch(ctx, r)
	if err == nil {
		return &Fetched{f}, nil
	}
	if e, ok := errors.AsType[*mlflow.FlavorError](err); ok {
		return fail(Usage, where, fmt.Errorf("%s cannot be imported: %w", r.Model, err), e.Hint)
	}
	if _, ok := errors.AsType[*remote.Error](err); ok {
		return fail(Usage, where, cause(err), "")
	}
	if e, ok := errors.AsType[*mlflow.Error](err); ok && (e.Code == mlflow.Unauthenticated || e.Code == mlflow.PermissionDenied) {
		return fail(Usage, where, err, fmt.Sprintf("set %s, or %s and %s", tokenVariable, userVariable, passwordVariable))
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, mlflow.ErrUnreachable):
		return fail(Failed, where, err, "look at the network and at the server, and do it again")
	case errors.Is(err, mlflow.ErrElsewhere):
		return fail(Usage, where, err, "fetch them with mlflow artifacts download, and import the file")
	}
	return fail(Usage, where, err, "")
}

// cause returns what is wrong with an address, of an error that says where as well.
func cause(err error) error {
	if e, ok := errors.AsType[*remote.Error](err); ok {
		return e.Err
	}
	return err
}

// variable returns the value of an environment variable, "" where it is not set.
func (a *App) variable(name string) string {
	if value, ok := a.Env(name); ok {
		return value
	}
	return ""
}

// Foreign tells whether the model is one of another system's, which needs a pipeline file to become one of millrace's: [App.ImportForeign].
func (f *Fetched) Foreign() bool { return f.f.Flavor != mlflow.Flavor }

// From says where the model comes from, for the lineage and the audit log.
func (f *Fetched) From() string {
	from := f.f.Ref()
	if f.f.Run != "" {
		from += ", run " + f.f.Run
	}
	return from
}

// Options fill in what [App.ImportForeign] has to know of the model.
func (f *Fetched) Options(o *ForeignOptions) {
	o.Model, o.Name, o.Format = f.f.Data, f.From(), f.f.Flavor
}

// ImportFetched registers a model that an MLflow server had as a bundle: see [registry.Registry.ImportBundle].
func (m *Models) ImportFetched(ctx context.Context, f *Fetched, by string) (registry.Version, error) {
	return m.Registry.ImportBundle(ctx, f.f.Data, f.From(), by)
}
