package app

import (
	"log/slog"
	"testing"

	"millrace.dev/record"
)

// states notes what an engine is told.
type states struct{ last string }

func (s *states) Pause(string) { s.last = Paused }
func (s *states) Resume()      { s.last = Resumed }

// TestControls holds the last record that says something to hold, whatever is written after it.
func TestControls(t *testing.T) {
	t.Parallel()
	const pause, run = `{"state":"paused"}`, `{"state":"running"}`
	for _, c := range []struct {
		name    string
		records []string
		want    string
	}{
		{"paused", []string{run, pause}, Paused},
		{"resumed", []string{pause, run}, Resumed},
		{"no JSON behind a pause", []string{run, pause, "{"}, Paused},
		{"another state behind a pause", []string{pause, `{"state":"stopped"}`, `{}`}, Paused},
		{"no value behind a resume", []string{pause, run, ""}, Resumed},
		{"nothing", []string{"", "null", `"paused"`}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var rs []record.Raw
			for _, r := range c.records {
				rs = append(rs, record.Raw{Value: []byte(r)})
			}
			var s states
			a := &App{Log: slog.New(slog.DiscardHandler)}
			if a.apply(t.Context(), rs, &s); s.last != c.want {
				t.Errorf("%q, want %q", s.last, c.want)
			}
		})
	}
}
