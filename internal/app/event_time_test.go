package app_test

import (
	"strings"
	"testing"

	"millrace.dev/internal/app"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/sample"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestTimestampsOfSource holds that where timestamps are event times, a record has the one that it came with, as in batch, and not
// that of the clock.
func TestTimestampsOfSource(t *testing.T) {
	t.Parallel()
	const windows = "windows:\n  recent: {key: city, over: 1h, aggregates: {n: count(), mean_area: mean(area)}}\n"
	for name, without := range map[string][]string{
		"stateless": {", event_time: at", "", windows, "", "  busy: recent.n\n", "", "  relative: area / recent.mean_area\n", ""},
		"windows":   {", event_time: at", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSamplingOf(t, strings.NewReplacer(without...).Replace(sampledPipeline))
			p := s.load(t, "tables.cities.join=global")
			scoring, err := app.NewScoring(p, s.model, app.ScoringOptions{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			d := streamtest.New(t, app.Topology(p, s.model.Bundle.Plan, scoring), streamtest.Partitions(3))
			streamtest.NewInput(d, "ref.cities", stream.String(), stream.String()).Pipe("c0", sampledCities()[0], 4)
			const year3000 = 32_503_680_000_000
			times := map[int64]bool{-1: false, 5: false, year3000: false}
			for at := range times {
				d.PipeRaw("houses", record.Raw{Key: []byte("c0"), Value: []byte(s.lines[0]), Timestamp: at})
			}
			texts, _, _ := samplesOf(d, "houses.features")
			for _, text := range texts {
				one, err := sample.Decode(text)
				if err != nil {
					t.Fatal(err)
				}
				if missing := one.EventTime == nil; missing != (one.Timestamp < 0) || !missing && *one.EventTime != one.Timestamp {
					t.Errorf("the event time is another than the timestamp: %s", text)
				}
				times[one.Timestamp] = true
			}
			for at, seen := range times {
				if !seen {
					t.Errorf("no sample of the record with timestamp %d", at)
				}
			}
			path := batch.NewComparison(2)
			var samples []*sample.Sample
			for _, text := range texts {
				one, _ := sample.Decode(text) // as before
				samples = append(samples, one)
			}
			if err := batch.Verify(t.Context(), batch.VerifyOptions{Samples: samples, Model: s.model}, path, nil); err != nil || path.Differing > 0 {
				t.Errorf("%v, %v", err, faults(path))
			}
		})
	}
}
