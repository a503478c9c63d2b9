package remote

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"
)

// New returns the model that options say. It opens no connection; what is wrong with the options is an [*Error] of class [Forbidden].
func New(o Options) (Model, error) {
	m, err := newModel(o, theWorld())
	if err != nil {
		return nil, err
	}
	return m, nil
}

func newModel(o Options, out outside) (*client, error) {
	o = withDefaults(o)
	p, err := parsePlace(o.URL)
	if err != nil {
		return nil, &Error{Class: Forbidden, Where: "model.serve.url", Err: err}
	}
	fail := func(err error, hint string) (*client, error) {
		return nil, &Error{Class: Forbidden, Where: p.String(), Err: err, Hint: hint}
	}
	if err := o.validate(&p); err != nil {
		return fail(err, "")
	}
	t := &transport{place: p, o: &o, out: out, grpc: o.Protocol == OIPgRPC}
	if t.allowed, err = parseHosts(o.Hosts); err != nil {
		return fail(err, "see model.serve.hosts")
	}
	if err := t.allowed.before(&p); err != nil {
		return fail(err, "")
	}
	if _, err := tlsConfig(o.TLS); err != nil {
		return nil, located(err, p.String())
	}
	c, err := t.caller()
	if err != nil {
		return nil, located(err, p.String())
	}
	return newClient(o, p.String(), c, t.close), nil
}

// located says in an *Error where the server is.
func located(err error, where string) error {
	if e, ok := errors.AsType[*Error](err); ok {
		e.Where = where
		return e
	}
	return &Error{Class: Forbidden, Where: where, Err: err}
}

// withDefaults fills in what was left out.
func withDefaults(o Options) Options {
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.Connections == 0 {
		o.Connections = 64
	}
	if o.Tensors == "" {
		o.Tensors = Columns
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return o
}

// validate tells whether the options agree with one another.
func (o *Options) validate(p *place) error {
	named := o.Protocol == OIP || o.Protocol == OIPgRPC || o.Protocol == Predict
	switch {
	case !slices.Contains(Protocols(), o.Protocol):
		return fmt.Errorf("there is no protocol %q: want one of %v", o.Protocol, Protocols())
	case named && o.Model == "":
		return fmt.Errorf("the protocol %s needs the name of a model: model.serve.model", o.Protocol)
	case o.Protocol == Predict && o.Version == "":
		return errors.New("the protocol predict needs the version of the model")
	case o.Protocol == Predict && o.Output == "":
		return errors.New("the protocol predict needs the field that the prediction is in")
	case o.Model == "." || o.Model == ".." || o.Version == "." || o.Version == "..":
		return errors.New("the model and its version must not be dots")
	case o.Tensors != Columns && o.Tensors != Matrix:
		return fmt.Errorf("there is no way %q to make tensors: want %s or %s", o.Tensors, Columns, Matrix)
	case o.Timeout < 0 || o.Connections < 0:
		return errors.New("the time-out and the connections must not be negative")
	case p.scheme == "http" && o.TLS != TLS{}:
		return errors.New("model.serve.tls is for a URL that begins with https://")
	case (o.TLS.CertFile == "") != (o.TLS.KeyFile == ""):
		return errors.New("model.serve.tls needs cert_file and key_file together")
	}
	return nil
}

// before tells, as far as that can be said without resolving its host, whether a place may be called.
func (a *allowed) before(p *place) error {
	switch {
	case p.addr.IsValid():
		return a.check(p, p.addr)
	case len(a.names) > 0 && len(a.networks) == 0 && !a.names[p.host]:
		return errors.New("the host is not in model.serve.hosts")
	default:
		return nil
	}
}

// caller returns what speaks the protocol of the options.
func (t *transport) caller() (caller, error) {
	switch t.o.Protocol {
	case OIPgRPC:
		return newGRPC(t), nil
	case Predict:
		return &predictCaller{t: t, path: "/predict/" + url.PathEscape(t.o.Model) + "/versions/" + url.PathEscape(t.o.Version)}, nil
	case MLflow:
		return &mlflowCaller{t: t, path: t.invocations()}, nil
	case SageMaker:
		return newSageMaker(t)
	default:
		return newOIP(t), nil
	}
}

// invocations returns the path of calls behind that of the URL, which may be that of calls itself.
func (t *transport) invocations() string {
	const path = "/invocations"
	if strings.HasSuffix(t.place.path, path) {
		return ""
	}
	return path
}
