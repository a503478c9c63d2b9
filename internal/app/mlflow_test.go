package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/auth"
	"millrace.dev/internal/mlflow"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/trust"
)

const mlflowFile = `
version: 1
name: flats
schema: {numeric: [rent, size, age, floor], enum: [city]}
source: {topic: flats}
train: {data: all.csv, label: rent, gbm: {min_rows: 5}}
sink: {topic: out, field: predicted}
dead_letter: {topic: dlq}
`

// shelf is a registry with three models: one approved, one rejected, and a candidate.
type shelf struct {
	app  *App
	file string
	env  map[string]string
	reg  *registry.Registry
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	dir := t.TempDir()
	writeFlats(t, dir)
	s := &shelf{file: filepath.Join(dir, "pipeline.yaml"), env: map[string]string{}}
	s.app = &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test", Env: func(name string) (string, bool) {
		value, ok := s.env[name]
		return value, ok
	}}
	if err := os.WriteFile(s.file, []byte(mlflowFile), 0o600); err != nil {
		t.Fatal(err)
	}
	for trees := range 3 {
		if _, err := s.app.Train(t.Context(), TrainOptions{File: s.file, By: "ada", Threads: 1, Set: []string{fmt.Sprint("train.gbm.ntrees=", 2+trees)}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.app.Load(s.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s.reg, err = s.app.Registry(p.Model); err != nil {
		t.Fatal(err)
	}
	d := registry.Decision{By: "eve", Reason: "looked at"}
	_, err1 := s.reg.Approve(t.Context(), "flats@1", "", d)
	_, err2 := s.reg.Reject(t.Context(), "flats@2", "", d)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return s
}

// asAnna returns the context of a request that Anna sends.
func asAnna(t *testing.T) context.Context {
	t.Helper()
	return auth.With(t.Context(), &auth.Principal{Name: "anna", Roles: []auth.Role{auth.Author}})
}

func TestMLflowStore(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	store := newMLflowStore(s.reg, s.reg)
	for _, c := range []mlflow.Change{
		{Kind: mlflow.ChangeTag, Model: "flats", Key: "team", Value: "pricing"},
		{Kind: mlflow.ChangeDescription, Model: "flats", Version: 3, Value: "more trees"},
		{Kind: mlflow.ChangeAlias, Model: "flats", Version: 3, Key: "eu"},
		{Kind: mlflow.ChangeAlias, Model: "flats", Version: 1, Key: "us"},
		{Kind: mlflow.ChangeAlias, Model: "flats", Key: "us", Remove: true},
	} {
		if err := store.Change(asAnna(t), c); err != nil {
			t.Fatal(c, err)
		}
	}
	models, err := store.Models(t.Context())
	if err != nil || len(models) != 1 {
		t.Fatal(len(models), err)
	}
	m := models[0]
	if diff := cmp.Diff(map[string]int{"champion": 1, "candidate": 3, "eu": 3}, m.Aliases); diff != "" || m.Tags["team"] != "pricing" {
		t.Error(diff, m.Tags)
	}
	var seen []string
	for _, v := range m.Versions {
		seen = append(seen, fmt.Sprintf("%d %s %s %s %q", v.Number, v.State, v.Stage, v.By, v.Description))
		if v.Updated.Before(v.Created) || m.Updated.Before(v.Updated) {
			t.Errorf("version %d: %s, %s, %s", v.Number, v.Created, v.Updated, m.Updated)
		}
	}
	if diff := cmp.Diff([]string{`1 approved Production ada ""`, `2 rejected Archived ada ""`, `3 candidate None ada "more trees"`}, seen); diff != "" {
		t.Error(diff)
	}
	events, err := s.reg.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e := events[len(events)-1]; e.Action != registry.Noted || e.Actor != "anna" || e.Reason != "over MLflow's API" || e.Version != 1 {
		t.Errorf("%+v", e)
	}
	data, err := store.Bundle(t.Context(), "flats", 3)
	if err != nil || int64(len(data)) != m.Versions[2].Bytes {
		t.Error(len(data), err)
	}
	for name, test := range map[string]struct {
		c    mlflow.Change
		code mlflow.Code
	}{
		"of the rejected": {mlflow.Change{Kind: mlflow.ChangeAlias, Model: "flats", Version: 2, Key: "eu"}, mlflow.PermissionDenied},
		"the champion":    {mlflow.Change{Kind: mlflow.ChangeAlias, Model: "flats", Version: 3, Key: "champion"}, mlflow.InvalidParameter},
		"no such model":   {mlflow.Change{Kind: mlflow.ChangeTag, Model: "boats", Key: "a"}, mlflow.Missing},
		"no such version": {mlflow.Change{Kind: mlflow.ChangeTag, Model: "flats", Version: 9, Key: "a"}, mlflow.Missing},
		"a long value":    {mlflow.Change{Kind: mlflow.ChangeTag, Model: "flats", Key: "a", Value: strings.Repeat("v", 9000)}, mlflow.InvalidParameter},
	} {
		err := store.Change(asAnna(t), test.c)
		if e, ok := errors.AsType[*mlflow.Error](err); !ok || e.Code != test.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := store.Change(t.Context(), mlflow.Change{Kind: mlflow.ChangeTag, Model: "flats", Key: "a"}); err != nil {
		t.Error(err)
	}
	if events, err := s.reg.Log(t.Context()); err != nil || events[len(events)-1].Actor != "anonymous" {
		t.Error(events, err)
	}
}

// TestMLflowStoreSigned notes nothing in a signed registry but what the key of the process signs.
func TestMLflowStoreSigned(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	key := func() *trust.Key {
		k, err := trust.NewKey()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	admin, server := key(), key()
	r := trust.NewRoot()
	r.Threshold, r.RootKeys = 1, []trust.PublicKey{admin.Public()}
	r.People = []trust.Person{{Name: "server", Key: server.Public(), Roles: []string{"notes"}}, {Name: "Anna", Key: key().Public(), Roles: []string{"data-scientist"}}}
	r.Policy.Approvals = []trust.Approvals{{Role: "data-scientist", Count: 1}}
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := root.Sign(admin, nil); err != nil {
		t.Fatal(err)
	}
	open := func(k *trust.Key) mlflow.Store {
		reg, err := registry.Open(s.reg.Location(), registry.Options{Now: time.Now, Root: root, Key: func() (*trust.Key, error) { return k, nil }})
		if err != nil {
			t.Fatal(err)
		}
		return newMLflowStore(reg)
	}
	tag := mlflow.Change{Kind: mlflow.ChangeTag, Model: "flats", Key: "team", Value: "pricing"}
	for name, k := range map[string]*trust.Key{"no key": nil, "a stranger's": key()} {
		err := open(k).Change(asAnna(t), tag)
		if e, ok := errors.AsType[*mlflow.Error](err); !ok || e.Code != mlflow.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
	store := open(server)
	if err := store.Change(asAnna(t), tag); err != nil {
		t.Fatal(err)
	}
	models, err := store.Models(t.Context())
	if err != nil || models[0].Tags["team"] != "pricing" {
		t.Fatal(models, err)
	}
	events, err := s.reg.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if e := events[len(events)-1]; e.Actor != "server" || e.Reason != "over MLflow's API, for anna" || e.Envelope == nil {
		t.Errorf("%+v", e)
	}
}

// newMLflowPeer serves a shelf to whoever has the token sesame, and returns the server's host.
func newMLflowPeer(t *testing.T, s *shelf) string {
	t.Helper()
	m, err := mlflow.New(mlflow.Options{Store: newMLflowStore(s.reg)})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range m.Routes() {
		mux.Handle(r.Method+" "+r.Path, r.Handler)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer sesame" {
			mlflow.WriteError(w, &mlflow.Error{Code: mlflow.Unauthenticated, Message: "who are you?"})
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func TestImportMLflow(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	host := newMLflowPeer(t, s)
	s.env["MLFLOW_TRACKING_TOKEN"], s.env["MLFLOW_TRACKING_URI"] = "sesame", "http://"+host
	to := &Models{}
	var err error
	if to.Registry, err = registry.Open(t.TempDir(), registry.Options{Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct {
		reference string
		version   int
	}{{"mlflow://" + host + "/flats@champion", 1}, {"models:/flats/3", 3}, {"models:/flats@candidate", 3}} {
		f, err := s.app.FetchMLflow(t.Context(), test.reference)
		if err != nil || f.Foreign() || f.From() != fmt.Sprintf("mlflow://%s/flats/%d", host, test.version) {
			t.Fatal(f, err)
		}
		v, err := to.ImportFetched(t.Context(), f, "bob")
		if err != nil || v.State != registry.StateCandidate || v.Number != min(i+1, 2) || v.RegisteredBy != "bob" {
			t.Fatalf("%+v %v", v, err)
		}
		_, events, err := to.Registry.Show(t.Context(), v.Ref(), "")
		if err != nil || events[0].Reason != "imported from "+f.From() {
			t.Error(events, err)
		}
	}
}

func TestFetchMLflowRefused(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	host := newMLflowPeer(t, s)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for reference, want := range map[string]struct {
		token string
		code  Code
		part  string
		hint  string
	}{
		"mlflow://" + host + "/flats":                            {"", Usage, "who are you?", "MLFLOW_TRACKING_TOKEN"},
		"mlflow://" + host + "/flats/1":                          {"wrong", Usage, "who are you?", "MLFLOW_TRACKING_TOKEN"},
		"mlflow://" + host + "/boats/1":                          {"sesame", Usage, "boats", ""},
		"mlflow://" + host + "/flats@mars":                       {"sesame", Usage, "mars", ""},
		"mlflow://mlflow.example/flats":                          {"sesame", Usage, "unencrypted", "mlflow+https://"},
		"mlflow://169.254.169.254/latest":                        {"", Usage, "never called", ""},
		"mlflow://2852039166/latest":                             {"", Usage, "", ""},
		"mlflow://" + gone.Listener.Addr().String() + "/flats/1": {"sesame", Failed, "does not answer", "do it again"},
		"models:/flats":                                          {"sesame", Usage, "MLFLOW_TRACKING_URI", ""},
		"mlflow://anna:sesame@" + host + "/flats":                {"", Usage, "MLFLOW_TRACKING_USERNAME", ""},
	} {
		a := *s.app
		a.Env = func(name string) (string, bool) { return want.token, name == tokenVariable && want.token != "" }
		_, err := a.FetchMLflow(t.Context(), reference)
		e, ok := errors.AsType[*Error](err)
		if !ok || e.Code != want.code || !strings.Contains(err.Error(), want.part) || !strings.Contains(e.Hint, want.hint) || strings.Contains(fmt.Sprint(err, e.Hint), "sesame") {
			t.Errorf("%s: %v (%+v)", reference, err, e)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.app.FetchMLflow(ctx, "mlflow://"+host+"/flats"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
