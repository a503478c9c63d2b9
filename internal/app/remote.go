package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/remote"
	"millrace.dev/internal/trace"
	"millrace.dev/model"
	"millrace.dev/record"
)

// The headers of a prediction that another server has made, or was to make.
const (
	headerRemote   = "millrace.remote"   // the server's URL
	headerFallback = "millrace.fallback" // why it has not, so that another model's prediction stands here
)

// remotes are the models of another server that a run predicts with: one for each model of the registry that computes the inputs. It
// is safe for concurrent use.
type remotes struct {
	app      *App
	p        *config.Pipeline
	fallback *Scoring // nil: there is none

	mu     sync.Mutex
	calls  callCounts
	told   map[remote.Class]time.Time // when failures of a class were last told
	models []*remoteModel
}

// tellEvery is how often failures of one class are told.
const tellEvery = 30 * time.Second

// newRemotes returns the models of model.serve, nil where the pipeline has none.
func (a *App) newRemotes(ctx context.Context, p *config.Pipeline, o ScoringOptions) (*remotes, error) {
	serve := p.Model.Serve
	if serve == nil {
		return nil, nil
	}
	r := &remotes{app: a, p: p, calls: newCallCounts(), told: map[remote.Class]time.Time{}}
	if serve.Fallback == "" {
		return r, nil
	}
	m, err := a.approved(ctx, p, serve.Fallback)
	if err != nil {
		return nil, err
	}
	if _, err := compileChecks("run", p, m); err != nil {
		return nil, err
	}
	if r.fallback, err = NewScoring(p, m, o); err != nil {
		return nil, err
	}
	r.fallback.watcher = nil // windows are compared with what the model in charge was trained with
	return r, nil
}

// connect has a model on another server predict instead of s, with the inputs of s, where there is one.
func (s *Scoring) connect(ctx context.Context, m *model.Loaded, r *remotes) (err error) {
	if r != nil {
		s.remote, err = r.model(ctx, m, s.path)
	}
	return err
}

// disconnect lets go of the connections of a model that does not predict any more.
func (s *Scoring) disconnect() {
	if s.remote != nil {
		s.remote.of.close(s.remote)
	}
}

var errOneRemote = errors.New("the server has one model for all arms: its answers do not depend on the arm")

// remoteModel is a model on another server, asked with the inputs of a model of the registry. It is safe for concurrent use.
type remoteModel struct {
	remote.Model
	of     *remotes
	field  string // that takes the prediction
	name   string // as predictions call it where the server does not say
	digest string // of the bundle that has the inputs
}

// model returns the model on the server that is asked with the inputs of m, after it was asked for the golden rows. A server that does
// not answer is no error: what is to be done then is declared.
func (r *remotes) model(ctx context.Context, m *model.Loaded, path *pipeline.Path) (*remoteModel, error) {
	serve := r.p.Model.Serve
	o := remote.Options{
		URL: serve.URL, Protocol: serve.Protocol, Model: serve.Model, Version: serve.Version, Output: serve.Output, Tensors: serve.Tensors,
		Timeout: serve.Timeout, Retries: serve.Retries, Hosts: serve.Hosts, TLS: remote.TLS{CAFile: serve.TLS.CAFile, CertFile: serve.TLS.CertFile, KeyFile: serve.TLS.KeyFile},
		Observe: r.observe, Now: r.app.Now,
	}
	if serve.TokenFile != "" {
		o.Token = serve.Token
	}
	if serve.Bound() {
		_, o.Version, _ = strings.Cut(m.Ref, "@")
	}
	client, err := remote.New(o)
	if err != nil {
		return nil, remoteError("call remote model", err)
	}
	x := &remoteModel{Model: client, of: r, field: path.Field(), name: serve.Model, digest: m.Digest}
	if err := x.probe(ctx, m.Bundle, path); err != nil {
		client.Close()
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.models = append(r.models, x)
	return x, nil
}

// close lets go of a model, or of all.
func (r *remotes) close(only *remoteModel) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.models {
		if only == nil || x == only {
			x.Close()
		}
	}
	r.models = slices.DeleteFunc(r.models, func(x *remoteModel) bool { return only == nil || x == only })
}

// probeWithin is how long the first answer is waited for.
const probeWithin = 3 * time.Second

// probe has the server predict the golden rows, so that what is wrong with the set-up shows before records do. A server that has the
// model of the registry has to predict them bit for bit.
func (x *remoteModel) probe(ctx context.Context, b *model.Bundle, path *pipeline.Path) error {
	ctx, cancel := context.WithTimeout(ctx, max(probeWithin, 2*x.of.p.Model.Serve.Timeout))
	defer cancel()
	return path.PrepareGolden(func(w *pipeline.Worker, batch *record.Batch) error {
		rows := predictable(nil, batch)
		if len(rows) == 0 {
			return nil
		}
		answer, err := x.Score(ctx, x.request(w, batch, rows))
		if e, ok := errors.AsType[*remote.Error](err); ok && (e.Class == remote.Unavailable || e.Class == remote.Failed) {
			x.of.app.Log.LogAttrs(ctx, slog.LevelWarn, "the model's server does not answer", slog.String("url", x.of.p.Model.Serve.URL), slog.Any("error", err),
				slog.String("on_failure", string(x.of.p.Model.Serve.OnFailure)))
			return nil
		}
		if err != nil {
			return remoteError("call remote model", err)
		}
		// What the server looks up in tables may have changed since training.
		if !x.of.p.Model.Serve.Bound() || x.of.p.Model.Serve.Protocol == remote.Predict && len(b.Plan.Tables()) > 0 {
			return nil
		}
		for k, i := range rows {
			what := "predicts something else for row"
			if p := answer.Problem(k); p != nil {
				what = "refuses (" + p.Class + ") row"
			} else if math.Float64bits(answer.Scores[k]) == math.Float64bits(b.Golden[i].Prediction) {
				continue
			}
			return &Error{
				Code: Refused, Op: "call remote model", Where: x.of.p.Model.Serve.URL, Err: fmt.Errorf("%w: the server %s %d", pipeline.ErrGolden, what, i),
				Hint: "have the server serve the registry's model: see millrace model show",
			}
		}
		return nil
	})
}

// request asks for rows of a batch whose inputs were computed.
func (x *remoteModel) request(w *pipeline.Worker, b *record.Batch, rows []int) *remote.Request {
	return &remote.Request{Frame: w.Frame(), Rows: rows, Value: func(row int) []byte { return b.Raw(row).Value }, Digest: x.digest}
}

// predictable returns the rows of a batch that have no problem.
func predictable(rows []int, b *record.Batch) []int {
	for i := range b.Len() {
		if b.Problem(i) == nil {
			rows = append(rows, i)
		}
	}
	return rows
}

// score has the server predict the batch of a scorer, whose inputs were computed.
func (x *remoteModel) score(ctx context.Context, w *scorer) error {
	w.asked = predictable(w.asked[:0], w.batch)
	if len(w.asked) == 0 {
		w.worker.Take(w.batch, nil, nil)
		return nil
	}
	ctx, call := trace.Call(ctx, "remote model")
	call.Text("url.full", x.of.p.Model.Serve.URL) // which has no secret in it
	call.Int("rows", len(w.asked))
	request := x.request(w.worker, w.batch, w.asked)
	request.Traceparent = trace.Inject(ctx)
	answer, err := x.Score(ctx, request)
	if err != nil {
		call.End(errors.New(remoteClass(err)))
		return err
	}
	call.End(nil)
	for k, i := range w.asked {
		if p := answer.Problem(k); p != nil {
			own := *p
			own.Field = cmp.Or(own.Field, x.field)
			w.batch.Reject(i, own)
		}
	}
	w.worker.Take(w.batch, w.asked, answer.Scores)
	w.name(x.headers(cmp.Or(answer.Model, x.name)))
	return nil
}

// headers are those of a prediction that the server's model has made.
func (x *remoteModel) headers(name string) []record.Header {
	return []record.Header{
		{Key: headerModel, Value: []byte(name)},
		{Key: headerDigest, Value: []byte(x.digest)},
		{Key: headerRemote, Value: []byte(x.of.p.Model.Serve.URL)},
	}
}

// refuse says of all rows of a batch that the server has not answered.
func (x *remoteModel) refuse(b *record.Batch, err error) {
	problem := record.Problem{Stage: record.StageScore, Class: remoteClass(err), Field: x.field, Reason: "the model's server has not predicted the record"}
	for _, i := range predictable(nil, b) {
		b.Reject(i, problem)
	}
}

// remoteClass returns what has gone wrong with a call, for counting.
func remoteClass(err error) string {
	if e, ok := errors.AsType[*remote.Error](err); ok {
		return string(e.Class)
	}
	return string(remote.Failed)
}

// remoteError returns the error of a call as a person is told of it.
func remoteError(op string, err error) error {
	e, ok := errors.AsType[*remote.Error](err)
	if !ok {
		return err
	}
	code := Usage
	if e.Class == remote.Unavailable || e.Class == remote.Failed {
		code = Failed
	}
	return &Error{Code: code, Op: op, Where: e.Where, Err: e.Err, Hint: e.Hint}
}

// callCounts count calls to another server.
type callCounts struct {
	Rows    uint64
	Calls   map[remote.Class]uint64 // "" are those that were answered
	Seconds []uint64                // calls by duration: see callBounds
	Sum     time.Duration
}

func newCallCounts() callCounts {
	return callCounts{Calls: map[remote.Class]uint64{}, Seconds: make([]uint64, len(callBounds())+1)}
}

// callBounds are the upper bounds of the buckets of calls by duration, in seconds.
func callBounds() []float64 {
	return []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10}
}

// observe counts a call.
func (r *remotes) observe(c remote.Call) {
	bucket, _ := slices.BinarySearch(callBounds(), c.Duration.Seconds())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls.Calls[c.Class]++
	r.calls.Seconds[bucket]++
	r.calls.Sum += c.Duration
	if c.Err == nil {
		r.calls.Rows += uint64(max(0, c.Rows))
		return
	}
	now := r.app.Now()
	if last, ok := r.told[c.Class]; ok && now.Sub(last) < tellEvery {
		return
	}
	r.told[c.Class] = now
	r.app.Log.LogAttrs(context.Background(), slog.LevelWarn, "calls to the model's server fail", slog.Any("error", c.Err), slog.String("hint", c.Err.Hint),
		slog.Uint64("failures", r.calls.Calls[c.Class]), slog.String("on_failure", string(r.p.Model.Serve.OnFailure)))
}

// state returns what calls have come to so far, and how the server is: the worst of what its models say.
func (r *remotes) state() (callCounts, remote.State, int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c := r.calls
	c.Calls, c.Seconds = maps.Clone(c.Calls), slices.Clone(c.Seconds)
	state, under := remote.Closed, 0
	for _, m := range r.models {
		s := m.Stats()
		under += s.InFlight
		if s.State != remote.Closed {
			state = s.State
		}
	}
	return c, state, under
}
