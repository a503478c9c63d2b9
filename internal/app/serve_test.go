package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/record"
)

// answering is a server at work.
type answering struct {
	url    string
	client *http.Client
	end    context.CancelFunc
	ended  chan error
	ran    *Served
}

// startServing has a server answer, until end or the end of the test.
func startServing(t *testing.T, a *App, o ServeOptions) *answering {
	t.Helper()
	s := &answering{client: &http.Client{Transport: &http.Transport{}}, ended: make(chan error, 1)}
	var ctx context.Context
	ctx, s.end = context.WithCancel(context.WithoutCancel(t.Context()))
	started := make(chan string, 1)
	o.HTTP, o.Threads, o.Started = "127.0.0.1:0", 2, func(s *Serving) { started <- s.Address }
	go func() {
		ran, err := a.Serve(ctx, o)
		s.ran = ran
		s.ended <- err
		close(s.ended)
	}()
	t.Cleanup(func() {
		s.end()
		if err := <-s.ended; err != nil { // nil where it was read before
			t.Error(err)
		}
		s.client.CloseIdleConnections()
	})
	select {
	case addr := <-started:
		s.url = "http://" + addr
	case err := <-s.ended:
		t.Fatal(err)
	}
	return s
}

// post posts a body and returns the status, the model that answered, and the answer.
func (s *answering) post(ctx context.Context, path, body string) (status int, model, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, "", "", err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Millrace-Model"), string(b), errors.Join(err, resp.Body.Close())
}

// get returns the status and the body of a path.
func (s *answering) get(t *testing.T, path string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

const flat = `{"size":61}`

// predicted returns what a model makes of a record.
func predicted(t *testing.T, a *App, file, ref, value string) string {
	t.Helper()
	p, err := a.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := a.approved(t.Context(), p, ref)
	if err != nil {
		t.Fatal(err)
	}
	path, err := pipeline.New(m.Bundle, pipeline.Options{Field: p.Sink.Field})
	if err != nil {
		t.Fatal(err)
	}
	w, err := path.NewWorker()
	if err != nil {
		t.Fatal(err)
	}
	b := w.NewBatch()
	b.Append(record.Raw{Value: []byte(value), Timestamp: -1})
	w.Process(b)
	return string(w.Output(0))
}

// TestServeSwap promotes models while requests come in: every one is answered, by the model that it names, and by no other than an approved
// one.
func TestServeSwap(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	want := map[string]string{}
	for _, ref := range []string{"flats@1", "flats@2", "flats@3"} {
		want[ref] = predicted(t, f.app, f.file, ref, flat)
	}
	if want["flats@1"] == want["flats@2"] || want["flats@2"] == want["flats@3"] {
		t.Fatal("the models are alike")
	}
	s := startServing(t, f.app, ServeOptions{Files: []string{f.file}, Set: []string{"serve.refresh=100ms"}})
	var done atomic.Bool
	var all sync.WaitGroup
	var requests atomic.Int64
	for range 4 {
		all.Go(func() {
			for !done.Load() {
				status, model, body, err := s.post(t.Context(), "/predict", flat)
				if requests.Add(1); err != nil || status != http.StatusOK || body != want[model] {
					t.Errorf("%d %s says %s, want %s; %v", status, model, body, want[model], err)
					return
				}
			}
		})
	}
	serves := func(ref string) {
		t.Helper()
		until(t, ref+" answers", func() bool {
			_, model, _, _ := s.post(t.Context(), "/predict", flat)
			return model == ref || t.Failed()
		})
	}
	serves("flats@1")
	d := registry.Decision{By: "eve", Reason: "a test"}
	for _, ref := range []string{"flats@2", "flats@3", "flats@1", "flats@2"} {
		if _, err := f.registry(t).Promote(t.Context(), ref, "flats", d); err != nil {
			t.Fatal(err)
		}
		serves(ref)
	}
	if status, _, body, err := s.post(t.Context(), "/predict/flats/versions/3", flat); status != http.StatusOK || body != want["flats@3"] {
		t.Errorf("version 3: %d %s, %v", status, body, err)
	}
	if _, err := f.registry(t).Retire(t.Context(), "flats@3", "flats", d); err != nil {
		t.Fatal(err)
	}
	until(t, "version 3 is not served", func() bool {
		status, _, _, _ := s.post(t.Context(), "/predict/flats/versions/3", flat)
		return status == http.StatusNotFound
	})
	done.Store(true)
	all.Wait()
	s.end()
	if err := <-s.ended; err != nil {
		t.Fatal(err)
	}
	if s.ran.Swaps != 4 || s.ran.Requests < uint64(requests.Load()) {
		t.Errorf("%+v, want 4 swaps and at least %d requests", s.ran, requests.Load())
	}
}

// TestServeRegistryGone goes on with the present model when the registry is not there any more.
func TestServeRegistryGone(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	s := startServing(t, f.app, ServeOptions{Files: []string{f.file}, Set: []string{"serve.refresh=100ms"}})
	p, err := f.app.Load(f.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.Model.Registry, p.Model.Registry+".gone"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Model.Registry, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "it is noticed", func() bool {
		_, body := s.get(t, "/metrics")
		return strings.Contains(body, `millrace_serve_registry_stale{model="flats"} 1`)
	})
	status, model, body, err := s.post(t.Context(), "/predict", flat)
	if err != nil || status != http.StatusOK || model != "flats@1" {
		t.Errorf("%d %s %s, %v", status, model, body, err)
	}
	if status, body := s.get(t, "/readyz"); status != http.StatusOK {
		t.Errorf("readyz: %d %s", status, body)
	}
}

// TestServeDrain ends in good order: it says so first, answers what is under way, and then takes no more connections.
func TestServeDrain(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	s := startServing(t, f.app, ServeOptions{Files: []string{f.file}, Set: []string{"serve.limits.drain_notice=300ms"}})
	// A request of which a part was sent is under way.
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it was read to its end
	half := len(flat) / 2
	if _, err := fmt.Fprintf(conn, "POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s", len(flat), flat[:half]); err != nil {
		t.Fatal(err)
	}
	until(t, "both connections are open", func() bool {
		_, body := s.get(t, "/metrics")
		return strings.Contains(body, "\nmillrace_serve_connections 2\n") && strings.Contains(body, "\nmillrace_serve_body_bytes ") && !strings.Contains(body, "\nmillrace_serve_body_bytes 0\n")
	})
	s.end()
	until(t, "it says that it is not ready", func() bool {
		status, _ := s.get(t, "/readyz")
		return status == http.StatusServiceUnavailable
	})
	if _, err := conn.Write([]byte(flat[half:])); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.1 200 OK\r\n")) || !bytes.HasSuffix(answer, []byte("}")) {
		t.Errorf("what was under way: %v %s", err, answer)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("the end: %v", err)
	}
	if c, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		_ = c.Close() // it is enough that there is one
		t.Error("there is a connection after the end")
	}
	if s.ran == nil || s.ran.Requests != 1 {
		t.Errorf("%+v, want one request", s.ran)
	}
}

// TestServeRefuses says what keeps a server from starting.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	other := filepath.Join(t.TempDir(), "other.yaml")
	if err := os.WriteFile(other, fmt.Appendf(nil, strings.Replace(fleetFile, "name: flats", "name: others", 1), f.broker.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() }) // nothing was accepted
	for name, test := range map[string]struct {
		o    ServeOptions
		code Code
		text string
	}{
		"no file":                      {ServeOptions{}, Usage, "no pipeline file is named"},
		"a file that is not there":     {ServeOptions{Files: []string{f.file + "x"}}, Usage, "no such file"},
		"a model twice":                {ServeOptions{Files: []string{f.file, f.file}}, Usage, "its model is called flats, as that of"},
		"no model":                     {ServeOptions{Files: []string{other}, HTTP: "127.0.0.1:0"}, Usage, "no model others is registered"},
		"other machines":               {ServeOptions{Files: []string{f.file}, HTTP: "0.0.0.0:0"}, Usage, "other machines would reach it"},
		"every address of the machine": {ServeOptions{Files: []string{f.file}, HTTP: ":0"}, Usage, "other machines would reach it"},
		"a place that is taken":        {ServeOptions{Files: []string{f.file}, HTTP: busy.Addr().String()}, Failed, "address already in use"},
		"a model of another file":      {ServeOptions{Files: []string{f.file}, HTTP: "127.0.0.1:0", Set: []string{"source.event_time="}}, OK, ""},
		"other inputs":                 {ServeOptions{Files: []string{f.file}, HTTP: "127.0.0.1:0", Set: []string{"schema.numeric=rent,size,age"}}, Refused, `the pipeline file has the field "age"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			test.o.Started = func(*Serving) { cancel() }
			_, err := f.app.Serve(ctx, test.o)
			if test.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			code, _ := Explain(err)
			if err == nil || code != test.code || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%v, code %d; want %q, code %d", err, code, test.text, test.code)
			}
		})
	}
}

// TestServeInsecure warns of a server that everybody can reach and do everything with, and of no other one. 192.0.2.1 is an address that no
// machine has: nothing is listened at.
func TestServeInsecure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		protected, insecure, warned bool
	}{{false, true, true}, {true, true, false}, {true, false, false}, {false, false, false}} {
		var log bytes.Buffer
		a := &App{Log: slog.New(slog.NewTextHandler(&log, nil))}
		if l, err := a.listen(t.Context(), "192.0.2.1:0", c.protected, c.insecure); err == nil {
			_ = l.Close() // nothing was accepted
			t.Fatal("it is an address of this machine")
		}
		if warned := strings.Contains(log.String(), "level=WARN") && strings.Contains(log.String(), "serve.auth"); warned != c.warned {
			t.Errorf("%+v: the log says %s", c, &log)
		}
	}
}

const followedFile = `
version: 1
name: flats
kafka: {brokers: %q}
schema: {numeric: [rent, size], enum: [city]}
source: {topic: flats}
tables: {cities: {topic: cities, data: cities.csv, key: city, format: %s, join: %s, schema: {numeric: [income]}}}
features: {income: "cities[city].income"}
train: {data: flats.csv, label: rent, ignore: [city], gbm: {min_rows: 2, ntrees: 20}}
sink: {topic: out}
dead_letter: {topic: dlq}
`

// TestServeTables looks up rows of a table whose topic is followed: as of its end when it begins, and what comes then, also after the
// broker was away.
func TestServeTables(t *testing.T) {
	t.Parallel()
	for _, join := range []string{"global", "partitioned"} {
		t.Run(join, func(t *testing.T) {
			t.Parallel()
			followTable(t, join)
		})
	}
}

func followTable(t *testing.T, join string) {
	dir := t.TempDir()
	o := devbroker.Options{Dir: filepath.Join(dir, "broker"), Addr: "127.0.0.1:0", Partitions: 3}
	b, err := devbroker.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	o.Addr = b.Addr()
	defer func() { _ = b.Close() }() // the test is over
	if err := b.CreateTopic("cities", 3, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	cities, training := []byte("city,income\n"), []byte("rent,size,city\n")
	for i := range 10 {
		cities = fmt.Appendf(cities, "c%d,%d\n", i, 20+10*i)
	}
	for i := range 400 {
		training = fmt.Appendf(training, "%d,%d,c%d\n", (20+10*(i%10))*(30+i%7), 30+i%7, i%10)
	}
	file := filepath.Join(dir, "pipeline.yaml")
	for name, text := range map[string]string{
		"pipeline.yaml": fmt.Sprintf(followedFile, o.Addr, "upsert", join), "cities.csv": string(cities), "flats.csv": string(training),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	logs := &lockedBuffer{}
	a := &App{Log: slog.New(slog.NewTextHandler(logs, nil)), Now: time.Now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	if _, err := a.Train(t.Context(), TrainOptions{File: file, By: "ada", Threads: 1}); err != nil {
		t.Fatal(err)
	}
	models, err := a.Models(ModelsOptions{File: file})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := models.Registry.Approve(t.Context(), "flats@1", "flats", registry.Decision{By: "eve", Reason: "fine"}); err != nil {
		t.Fatal(err)
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{o.Addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	put := func(city string, income int) {
		t.Helper()
		p, err := client.NewProducer(kafka.ProducerConfig{Topic: "cities"})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if err := p.Send(t.Context(), &record.Raw{Key: []byte(city), Value: fmt.Appendf(nil, `{"city":%q,"income":%d}`, city, income), Timestamp: 1}); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		put("c"+strconv.Itoa(i), 20+10*i)
	}
	s := startServing(t, a, ServeOptions{Files: []string{file}})
	defer func() {
		if t.Failed() {
			t.Log(logs.String())
		}
	}()
	rent := func(city string) float64 {
		t.Helper()
		status, _, body, err := s.post(t.Context(), "/predict", fmt.Sprintf(`{"size":33,"city":%q}`, city))
		var got struct {
			Prediction float64 `json:"prediction"`
		}
		if err := errors.Join(err, json.Unmarshal([]byte(body), &got)); err != nil || status != http.StatusOK {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		return got.Prediction
	}
	poor, rich := rent("c0"), rent("c9")
	if rich < 2*poor {
		t.Fatalf("the rents are %v and %v: the table says nothing", poor, rich)
	}
	put("c0", 110)
	until(t, "a change of the table is seen", func() bool { return rent("c0") == rich })
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if rent("c0") != rich || rent("c1") == rich {
		t.Error("the rows are others when the broker is away")
	}
	if b, err = devbroker.Start(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	put("c1", 110)
	until(t, "a change is seen after the broker was away", func() bool { return rent("c1") == rich })
	if _, body := s.get(t, "/metrics"); !strings.Contains(body, `millrace_serve_table_rows{model="flats",table="cities"} 10`) ||
		!strings.Contains(body, `millrace_serve_table_refused_total{model="flats",table="cities"} 0`) ||
		!strings.Contains(body, `millrace_serve_table_age_seconds{model="flats",table="cities"} `) {
		t.Error("the metrics do not tell of the table")
	}
}
