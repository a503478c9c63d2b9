package query

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/server"
	"millrace.dev/internal/task"
)

// Options say whom to ask.
type Options struct {
	Engine  *engine.Engine
	Program *task.Program
	// Transport is how other instances are reached. Default: one of its own, without proxies
	Transport http.RoundTripper
	// Timeout bounds an answer, what others have to say included. Default: 5 s
	Timeout time.Duration
	// Log. Default: nothing is logged
	Log *slog.Logger
}

const defaultTimeout = 5 * time.Second

// API answers about the stores of an application. It is safe for concurrent use.
type API struct {
	engine  *engine.Engine
	program *task.Program
	timeout time.Duration
	log     *slog.Logger
	stores  map[string]*source
	names   []string
	peers   peers
	most    budget
}

// New returns an API.
func New(o Options) (*API, error) {
	if o.Engine == nil || o.Program == nil {
		return nil, errors.New("query: no engine, or no program")
	}
	a := &API{engine: o.Engine, program: o.Program, timeout: o.Timeout, log: o.Log, stores: map[string]*source{}, peers: newPeers(o.Engine, o.Transport), most: budget{allLooks, allBytes}}
	if a.timeout == 0 {
		a.timeout = defaultTimeout
	}
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	for _, sub := range o.Program.Subs {
		for i := range sub.Stores {
			if s := &sub.Stores[i]; s.Row != nil { // the others hold what an operator keeps for itself
				a.stores[s.Name] = &source{spec: s, sub: sub.ID}
				a.names = append(a.names, s.Name)
			}
		}
	}
	slices.Sort(a.names)
	return a, nil
}

// Routes returns what the API answers.
func (a *API) Routes() []server.Route {
	get := func(pattern, summary string, f func(http.ResponseWriter, *http.Request)) server.Route {
		return server.Route{Method: http.MethodGet, Pattern: pattern, Role: auth.Reader, Summary: summary, Handler: http.HandlerFunc(f), MaxBody: -1}
	}
	return []server.Route{
		get("/v1/stores", "List the stores", a.list),
		get("/v1/stores/{store}", "Tell what a store is, and which instance has which partition of it", a.places),
		get("/v1/stores/{store}/row", "Read the row of a key, or of a key and a window", a.row),
		get("/v1/stores/{store}/rows", "Read the rows of a range of keys, or of the windows between two times", a.rows),
	}
}

// Handler answers the routes, to anyone: it is for behind something that knows who asks.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range a.Routes() {
		mux.Handle(r.Method+" "+r.Pattern, r.Handler)
	}
	return mux
}

// respond answers with JSON.
func respond(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // which cannot be: rows were looked at
		status, b = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be written as JSON"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusServiceUnavailable || status == http.StatusMisdirectedRequest {
		h.Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the client is gone
}

// find returns the store that a request names, or answers that there is none.
func (a *API) find(w http.ResponseWriter, r *http.Request) *source {
	name := r.PathValue("store")
	s, ok := a.stores[name]
	if !ok {
		hint := "there is none whose rows can be read"
		if len(a.names) > 0 {
			hint = "there are " + strings.Join(a.names, ", ")
		}
		respond(w, http.StatusNotFound, Fault{Error: fmt.Sprintf("there is no store %.80q: %s", name, hint)})
		return nil
	}
	found := *s
	found.partitions = a.engine.Spread(s.spec.Node)
	return &found
}

func (a *API) list(w http.ResponseWriter, r *http.Request) {
	if _, err := parameters(r.URL.RawQuery); err != nil {
		respond(w, http.StatusBadRequest, Fault{Error: err.Error()})
		return
	}
	out := Stores{Application: a.program.Name, Instance: a.engine.Instance(), Stores: []Store{}}
	for _, name := range a.names {
		s := *a.stores[name]
		s.partitions = a.engine.Spread(s.spec.Node)
		out.Stores = append(out.Stores, s.describe(a.program))
	}
	respond(w, http.StatusOK, out)
}

// The states of a [Place].
const (
	placeRunning   = "running"
	placeRestoring = "restoring"
	placeMoving    = "moving"
	placeElsewhere = "elsewhere"
	placeNowhere   = "nowhere"
)

func (a *API) places(w http.ResponseWriter, r *http.Request) {
	s := a.find(w, r)
	if s == nil {
		return
	}
	if _, err := parameters(r.URL.RawQuery); err != nil {
		respond(w, http.StatusBadRequest, Fault{Error: err.Error()})
		return
	}
	if s.partitions == 0 {
		respond(w, http.StatusServiceUnavailable, Fault{Error: errUnready.Error()})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.timeout)
	defer cancel()
	out := Places{Store: s.describe(a.program)}
	g, err := a.peers.group(ctx, 0)
	if err != nil {
		respond(w, http.StatusServiceUnavailable, Fault{Error: "who has which partition cannot be told: " + err.Error()})
		return
	}
	_, ready := a.engine.Holds()
	for p := range int32(s.partitions) { //nolint:gosec // Kafka counts them in 32 bits
		id := task.ID{Sub: s.sub, Partition: p}
		place := Place{Partition: p, Task: id.String(), State: placeNowhere}
		has, here := ready[id]
		if m := a.engine.Owner(id, g.members); m != nil {
			place.Instance, place.Address, place.State = nameOf(m), m.Address, placeElsewhere
			if m.ID == a.engine.Member() {
				place.State = placeMoving
			}
		}
		if here {
			place.Instance, place.State = a.engine.Instance(), placeRestoring
			if has {
				place.State = placeRunning
			}
		}
		out.Places = append(out.Places, place)
	}
	respond(w, http.StatusOK, out)
}

func (a *API) row(w http.ResponseWriter, r *http.Request) {
	s := a.find(w, r)
	if s == nil {
		return
	}
	q, err := parseRow(r.URL.RawQuery, s)
	res := a.answer(w, r, q, err)
	switch {
	case res == nil:
	case len(res.missing) > 0:
		a.refuse(w, r, res)
	case len(res.rows) == 0 && slices.ContainsFunc(res.parts, func(p Part) bool { return p.End != nil }):
		respond(w, http.StatusBadRequest, Fault{Error: "the row is not among those that can be looked at in one go: ask for rows of the key, and go on from there"})
	case len(res.rows) == 0:
		respond(w, http.StatusNotFound, Fault{Error: "the store has no such row", AsOf: clean(res.parts)})
	default:
		row := slices.MinFunc(res.rows, func(x, y Row) int { return cmp.Compare(x.Partition, y.Partition) })
		row.At = nil
		out := RowAnswer{Store: s.spec.Name, Isolation: Isolation, Row: row}
		for _, p := range res.parts {
			if p.Partition == out.Row.Partition {
				out.AsOf = *clean([]Part{p})
			}
		}
		respond(w, http.StatusOK, out)
	}
}

// clean returns the first of the parts without what is for other instances.
func clean(parts []Part) *Part {
	p := parts[0]
	p.End = nil
	return &p
}

func (a *API) rows(w http.ResponseWriter, r *http.Request) {
	s := a.find(w, r)
	if s == nil {
		return
	}
	q, err := parseRows(r.URL.RawQuery, s)
	res := a.answer(w, r, q, err)
	if res == nil {
		return
	}
	if len(res.missing) > 0 && (!q.partial || len(res.parts) == 0) && (r.Header.Get(HeaderForwarded) == "" || len(res.parts) == 0) {
		a.refuse(w, r, res)
		return
	}
	out := Answer{Store: s.spec.Name, Isolation: Isolation, Missing: res.missing}
	if r.Header.Get(HeaderForwarded) == "" {
		if end := res.settle(q.limit); end != nil {
			out.Next = end.String()
		}
		for i := range res.rows {
			res.rows[i].At = nil
		}
		for i := range res.parts {
			res.parts[i].End = nil
		}
	}
	if out.Rows, out.Partitions = res.rows, res.parts; out.Rows == nil {
		out.Rows = []Row{}
	}
	respond(w, http.StatusOK, out)
}

// errUnready is why nothing can be answered.
var errUnready = errors.New("the instance does not know its topics yet: try again later")

// answer finds what is asked for, on this instance and, for who has not come by another one already, on the others. It answers
// itself, and returns nil, where there is a fault.
func (a *API) answer(w http.ResponseWriter, r *http.Request, q *ask, err error) *result {
	if err != nil {
		respond(w, http.StatusBadRequest, Fault{Error: err.Error()})
		return nil
	}
	if q.store.partitions == 0 {
		respond(w, http.StatusServiceUnavailable, Fault{Error: errUnready.Error()})
		return nil
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.timeout)
	defer cancel()
	var res *result
	if r.Header.Get(HeaderForwarded) != "" {
		if of := r.Header.Get(HeaderApplication); of != "" && of != a.program.Name {
			respond(w, http.StatusMisdirectedRequest, Fault{Error: fmt.Sprintf("this is an instance of %s, not of %.100q", a.program.Name, of)})
			return nil
		}
		res, err = a.here(ctx, q, q.partitions)
	} else {
		res, err = a.everywhere(ctx, r, q)
	}
	switch {
	case err == nil:
		return res
	case ctx.Err() != nil:
		respond(w, http.StatusServiceUnavailable, Fault{Error: "the answer took too long: ask for fewer rows, or for one key"})
	default:
		a.log.LogAttrs(ctx, slog.LevelError, "a store cannot be read", slog.String("store", q.store.spec.Name), slog.Any("error", err))
		respond(w, http.StatusInternalServerError, Fault{Error: "the store cannot be read: the log of the instance says why"})
	}
	return nil
}

// refuse answers that partitions are missing: that they are elsewhere, to another instance, and else that they will come.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, res *result) {
	status := http.StatusServiceUnavailable
	if r.Header.Get(HeaderForwarded) != "" {
		status = http.StatusMisdirectedRequest
	}
	why := fmt.Sprintf("partition %d cannot be read now: %s", res.missing[0].Partition, res.missing[0].Reason)
	if n := len(res.missing); n > 1 {
		why = fmt.Sprintf("%d partitions cannot be read now, the first of them %d: %s", n, res.missing[0].Partition, res.missing[0].Reason)
	}
	respond(w, status, Fault{Error: why, Missing: res.missing})
}

// here reads partitions of which this instance has the state. The others are missing.
func (a *API) here(ctx context.Context, q *ask, partitions []int32) (*result, error) {
	res := &result{}
	stats := a.engine.Stats()
	for _, p := range partitions {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		id := task.ID{Sub: q.store.sub, Partition: p}
		view, at, err := a.engine.View(id, q.store.spec.Name)
		if errors.Is(err, engine.ErrElsewhere) || errors.Is(err, engine.ErrRestoring) {
			res.missing = append(res.missing, Missing{Partition: p, Task: id.String(), Reason: err.Error()})
			continue
		}
		if err != nil {
			return nil, err
		}
		rows, end, err := q.read(ctx, view, p, a.most.share(len(partitions)))
		if err = errors.Join(err, view.Close()); err != nil {
			return nil, err
		}
		part := a.part(id, q.store.spec.Name, at, &stats)
		part.End = end
		res.parts = append(res.parts, part)
		res.rows = append(res.rows, rows...)
	}
	return res, nil
}
