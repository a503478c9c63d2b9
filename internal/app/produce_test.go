package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func testApp(env map[string]string) *App {
	return &App{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test",
		Env: func(name string) (string, bool) {
			v, ok := env[name]
			return v, ok
		},
	}
}

// TestPace holds that events are spread evenly, and that a late one does not delay those after it.
func TestPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, start := newPace(10), time.Now()
		var at []time.Duration
		for i := range 6 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			at = append(at, time.Since(start))
			if i == 2 {
				time.Sleep(250 * time.Millisecond) // a broker is slow
			}
		}
		const ms = time.Millisecond
		want := []time.Duration{0, 100 * ms, 200 * ms, 450 * ms, 450 * ms, 500 * ms}
		if d := cmp.Diff(want, at); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
	})
}

func TestPaceWithoutRate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, start := newPace(0), time.Now()
		for range 1000 {
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("waited %s", d)
		}
	})
}

func TestPaceCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		p, start := newPace(0.001), time.Now()
		if err := p.wait(ctx); err != nil {
			t.Fatal(err)
		}
		if err := p.wait(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		for _, rate := range []float64{0, 1e9} {
			if err := newPace(rate).wait(ctx); err == nil {
				t.Errorf("rate %g: no error after the end", rate)
			}
		}
	})
}

// TestConnection holds where the brokers come from: the command line, the pipeline file, the environment, the default.
func TestConnection(t *testing.T) {
	t.Chdir(t.TempDir())
	env := map[string]string{"KAFKA_BROKERS": "env:1, env:2,"}
	brokers := func(a *App, file string, named ...string) []string {
		t.Helper()
		c, _, err := a.connection(file, named)
		if err != nil {
			t.Fatal(err)
		}
		return c.Brokers
	}
	check := func(what string, got []string, want ...string) {
		t.Helper()
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got)\n%s", what, d)
		}
	}
	check("default", brokers(testApp(nil), ""), "localhost:9092")
	check("environment", brokers(testApp(env), ""), "env:1", "env:2")
	check("command line", brokers(testApp(env), "", "named:1"), "named:1")

	const text = "version: 1\nname: x\nkafka: {brokers: 'file:1'}\nschema: {numeric: [a, b]}\nsource: {topic: in}\n" +
		"train: {data: x.csv, label: b}\nsink: {topic: out}\ndead_letter: {topic: dlq}\n"
	write(t, "pipeline.yaml", text)
	check("pipeline file", brokers(testApp(env), ""), "file:1")
	check("pipeline file and command line", brokers(testApp(env), "pipeline.yaml", "named:1"), "named:1")
	_, schema, err := testApp(nil).connection("", nil)
	if err != nil || schema == nil || schema.Len() != 2 {
		t.Errorf("schema %v, %v", schema, err)
	}
	if _, _, err := testApp(nil).connection("nowhere.yaml", nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is named and not there: %v", err)
	}
}

func TestActor(t *testing.T) {
	t.Parallel()
	if got := testApp(nil).actor(""); got == "" {
		t.Error("nobody")
	}
	for _, tc := range []struct {
		env      map[string]string
		by, want string
	}{
		{map[string]string{"LOGNAME": "c"}, "", "c"},
		{map[string]string{"LOGNAME": "c", "USER": "b"}, "", "b"},
		{map[string]string{"LOGNAME": "c", "USER": "b", "MILLRACE_USER": "a"}, "", "a"},
		{map[string]string{"USER": "b"}, "me", "me"},
	} {
		if got := testApp(tc.env).actor(tc.by); got != tc.want {
			t.Errorf("%v, %q: got %q, want %q", tc.env, tc.by, got, tc.want)
		}
	}
}

func TestLoadUnreadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for path, hint := range map[string]bool{dir: false, filepath.Join(dir, "nowhere.yaml"): true} {
		_, err := testApp(nil).Load(path, nil)
		code, got := Explain(err)
		if err == nil || code != Usage || (got != "") != hint {
			t.Errorf("%s: %v, code %d, hint %q", path, err, code, got)
		}
	}
}
