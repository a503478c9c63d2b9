package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDeadLetter(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]DeadLetter{
		"{topic: q, compat: spring, breaker: {rate: 10%, records: 50, over: 5m, consecutive: 9, retry: 30s}}": {
			Topic: "q", Compat: "spring", Breaker: Breaker{Rate: 0.1, Records: 50, Over: 5 * time.Minute, Consecutive: 9, Retry: 30 * time.Second},
		},
		"{topic: q, breaker: {rate: 0, consecutive: 7}}":  {Topic: "q", Compat: "none", Breaker: Breaker{Records: 200, Over: time.Minute, Consecutive: 7, Retry: time.Minute}},
		"{topic: q, breaker: {enabled: false, rate: 1%}}": {Topic: "q", Compat: "none"},
	} {
		p, err := Parse("p.yaml", []byte(strings.Replace(house, "{topic: housing.dlq}", in, 1)), Options{Env: func(string) (string, bool) { return "x", true }})
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, p.DeadLetter); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for in, want := range map[string]string{
		"{topic: q, compat: flink}":             "dead_letter.compat: want none, connect, streams or spring",
		"{topic: q, breaker: {rate: 101%}}":     "dead_letter.breaker.rate: want a number from 0 to 1, or a percentage",
		"{topic: q, breaker: {records: 0}}":     "dead_letter.breaker.records: want a whole number from 1 to 1000000",
		"{topic: q, breaker: {retry: 1ms}}":     "dead_letter.breaker.retry: want a duration from 1s to 1d",
		"{topic: q, breaker: {over: 60}}":       "dead_letter.breaker.over: want a duration",
		"{topic: q, breaker: {consecutive: x}}": "dead_letter.breaker.consecutive: want a whole number",
		"{topic: q, breaker: off}":              "dead_letter.breaker is a mapping",
	} {
		_, err := Parse("p.yaml", []byte(strings.Replace(house, "{topic: housing.dlq}", in, 1)), Options{Env: func(string) (string, bool) { return "x", true }})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}
