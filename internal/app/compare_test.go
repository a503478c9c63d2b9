package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/report"
	"millrace.dev/internal/shadow"
	"millrace.dev/record"
)

// both has production and a candidate predict m records.
func (f *fleet) both(t *testing.T, w *worker, candidate string, m int) {
	t.Helper()
	f.send(t, 0, m)
	f.settle(t, w, m)
	_, err := f.shadow(t, ShadowOptions{Model: candidate, From: "earliest", To: "latest"}, nil)
	if err != nil {
		t.Fatal(err)
	}
}

// settle waits until production has been through so many records.
func (f *fleet) settle(t *testing.T, w *worker, n int) {
	t.Helper()
	until(t, "production is through", func() bool {
		lag, err := f.client.Lag(t.Context(), "flats", "flats")
		if err != nil {
			return false
		}
		for _, n := range lag {
			if n > 0 {
				return false
			}
		}
		return w.running().Stats().Records >= uint64(n)
	})
}

func TestCompareShadow(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	f.both(t, w, "flats@3", 500)
	page := filepath.Join(t.TempDir(), "page.html")
	r, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Top: 3, HTML: page})
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != 450 || r.Production.Alone != (shadow.Absences{}) || r.Candidate.Alone != (shadow.Absences{}) || r.Candidate.Model != "flats@3" || r.Agreement.Same > 100 {
		t.Errorf("%d pairs, %+v, %+v, %+v", r.Pairs, r.Production, r.Candidate, r.Agreement)
	}
	if len(r.Models) != 1 || r.Models[0].Model != "flats@1" {
		t.Errorf("models %+v", r.Models)
	}
	if r.Production.Letters["decode/syntax"]+r.Production.Letters["decode/invalid_json"] == 0 && len(r.Production.Letters) == 0 {
		t.Errorf("dead letters %v", r.Production.Letters)
	}
	if len(r.Top) != 3 {
		t.Fatalf("%d top differences", len(r.Top))
	}
	for i := range r.Top {
		top := &r.Top[i]
		if top.Lacks != "" || len(top.Inputs) != 1 || top.Expected == nil {
			t.Fatalf("%+v", top)
		}
		a, b := top.Expected[0], top.Expected[1]
		for _, in := range top.Inputs {
			a, b = a+float64(in.Production), b+float64(in.Candidate)
		}
		if diff := max(a-top.Production, top.Production-a, b-top.Candidate, top.Candidate-b); diff > 1e-6 {
			t.Errorf("%s: inputs make %g and %g, and predictions are %g and %g", top.Source, a, b, top.Production, top.Candidate)
		}
	}
	if r.Scoring == nil || r.Scoring.Candidate <= 0 {
		t.Errorf("scoring %+v", r.Scoring)
	}
	text := &bytes.Buffer{}
	if err := report.ShadowText(text, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"flats@3 beside flats@1: 450 pairs", "rank correlation", "The largest differences", "size"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the text lacks %q:\n%s", want, text)
		}
	}
	if html, err := os.ReadFile(page); err != nil || !bytes.Contains(html, []byte("flats@3 beside flats@1")) {
		t.Errorf("page: %v", err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// TestCompareSame: a shadow of the champion differs nowhere.
func TestCompareSame(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	f.both(t, w, "flats@1", 300)
	r, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Top: 3, Set: []string{"shadow.tolerance.share=0", "shadow.tolerance.unpaired=0", "shadow.tolerance.mean=0"}})
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != 270 || r.Agreement.Same != 270 || r.Agreement.Different != 0 || r.Difference.Mean != 0 || len(r.Top) != 0 || len(r.Bounds) != 3 {
		t.Errorf("%+v", r)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "270 of the pairs are flats@1 beside itself") || strings.Contains(notes, "dead letters") {
		t.Errorf("notes %q", notes)
	}
	// What others write into the topic is no prediction, be it the last record.
	strange, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "flats.shadow"})
	if err != nil {
		t.Fatal(err)
	}
	defer strange.Close()
	for i := range 9 {
		if err := strange.Send(t.Context(), &record.Raw{Key: fmt.Appendf(nil, "%d", i), Value: []byte(`{"prediction":1}`), Timestamp: 1_800_000_000_000}); err != nil {
			t.Fatal(err)
		}
	}
	if err := strange.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err = f.app.CompareShadow(t.Context(), CompareOptions{File: f.file}); err != nil || r.Pairs != 270 || r.Candidate.Model != "flats@1" || r.Candidate.Other != 9 {
		t.Fatalf("%v: %+v", err, r)
	}
	// Where the topic is not the pipeline file's, nothing says where its dead letters are.
	r, err = f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Topic: "flats.shadow", Set: []string{"shadow.topic=other"}})
	if err != nil {
		t.Fatal(err)
	}
	if notes := strings.Join(r.Notes, "\n"); !strings.Contains(notes, "the dead letters of flats.shadow are not counted") {
		t.Errorf("notes %q", notes)
	}
}

// TestComparePartitions pairs topics with other numbers of partitions.
func TestComparePartitions(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, topic := range []string{"flats.shadow", "flats.shadow.dlq"} {
		if err := f.broker.CreateTopic(topic, 5, nil); err != nil {
			t.Fatal(err)
		}
	}
	w := f.start(t, "one")
	f.settled(t, w)
	f.both(t, w, "flats@1", 400)
	r, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file})
	if err != nil {
		t.Fatal(err)
	}
	if r.Pairs != 360 || r.Agreement.Same != 360 || r.Production.Alone != (shadow.Absences{}) || r.Candidate.Alone != (shadow.Absences{}) {
		t.Errorf("%+v", r)
	}
}

func TestCompareTolerance(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	f.both(t, w, "flats@3", 200)
	for _, c := range []struct {
		set      string
		exceeded bool
	}{
		{"shadow.tolerance.share=1%", true},
		{"shadow.tolerance.share=100%", false},
		{"shadow.tolerance.mean=0", true},
		{"shadow.tolerance.mean=1e9", false},
		{"shadow.tolerance.unpaired=0", false},
	} {
		r, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Set: []string{c.set}})
		if c.exceeded != isCode(err, Refused) || !c.exceeded && err != nil || r == nil || len(r.Bounds) != 1 || r.Bounds[0].Exceeded != c.exceeded {
			t.Errorf("%s: %v, %+v", c.set, err, r.Bounds)
		}
	}
	if _, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, From: "latest"}); !isCode(err, Nothing) {
		t.Errorf("an empty range: %v", err)
	}
	if _, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Model: "flats@2"}); !isCode(err, Nothing) {
		t.Errorf("a model that has predicted nothing: %v", err)
	}
}

// TestCompareLabels: the candidate that labels say is better is.
func TestCompareLabels(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	f.both(t, w, "flats@3", 1000)
	r, err := f.app.CompareShadow(t.Context(), CompareOptions{File: f.file})
	if err != nil {
		t.Fatal(err)
	}
	// The label is what the candidate predicts, now and then a bit more.
	f.outcomes(t, "out", r.Pairs)
	r, err = f.app.CompareShadow(t.Context(), CompareOptions{File: f.file, Outcomes: "labels", Set: []string{"shadow.tolerance.loss.metric=absolute_error"}})
	if err != nil {
		t.Fatal(err)
	}
	l := r.Labels
	if l == nil || l.Verdict == nil || l.Verdict.Verdict != experiment.Better || l.Pairs == 0 || l.Expired == 0 || l.MAE[1] >= l.MAE[0] || len(l.Progress) < 3 || len(r.Bounds) != 1 {
		t.Errorf("%+v, %+v, %+v", l, l.Verdict, r.Bounds)
	}
}

// outcomes writes outcomes whose labels are near to what the shadow has predicted; every tenth has expired.
func (f *fleet) outcomes(t *testing.T, topic string, _ int64) {
	t.Helper()
	if err := f.broker.CreateTopic("labels", 3, nil); err != nil {
		t.Fatal(err)
	}
	p, err := f.client.NewProducer(kafka.ProducerConfig{Topic: "labels"})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	n := 0
	err = f.client.Tap(t.Context(), kafka.TapConfig{Topic: "flats.shadow", From: kafka.FromStart}, func(rs []record.Raw) error {
		for i := range rs {
			x, ok := predictionIn(rs[i].Value, "prediction")
			if !ok {
				return fmt.Errorf("no prediction in %s", rs[i].Value)
			}
			label, at := x+float64(n%5), rs[i].Timestamp
			o := outcome.Outcome{
				Version: 1, Pipeline: "flats", Status: outcome.Resolved, Topic: topic, Source: header(&rs[i], "millrace.source"), Model: "flats@1", Digest: "sha256:1",
				PredictedAt: at, Prediction: x, Label: &label, LabelledAt: &at,
			}
			if n++; n%10 == 0 {
				o.Status, o.Label, o.LabelledAt = outcome.Expired, nil, nil
			}
			value, err := o.Append(nil, "", "")
			if err != nil {
				return err
			}
			if err := p.Send(t.Context(), &record.Raw{Value: value}); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = p.Flush(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCompareFollow: what is predicted later counts too.
func TestCompareFollow(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	w := f.start(t, "one")
	f.settled(t, w)
	f.both(t, w, "flats@3", 100)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var pairs atomic.Int64
	done := make(chan *shadow.Report, 1)
	go func() {
		r, err := f.app.CompareShadow(ctx, CompareOptions{File: f.file, Follow: true, Top: 1, Every: 20 * time.Millisecond, Live: func(r *shadow.Report) { pairs.Store(r.Pairs) }})
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	until(t, "the first pairs are there", func() bool { return pairs.Load() == 90 })
	at, err := f.client.EndOffsets(t.Context(), "flats", true)
	if err != nil {
		t.Fatal(err)
	}
	from := fmt.Sprintf("offset:0=%d,1=%d,2=%d", at[0]-3, at[1]-3, at[2]-3) // some of them again
	f.send(t, 100, 200)
	f.settle(t, w, 200)
	if _, err := f.shadow(t, ShadowOptions{Model: "flats@3", From: from, To: "latest"}, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "later pairs are there", func() bool { return pairs.Load() == 180 })
	end()
	if r := <-done; r == nil || r.Pairs != 180 || len(r.Top) != 1 || r.Top[0].Lacks != "" || r.Candidate.Again == 0 {
		t.Errorf("%+v", r)
	}
}

func TestPredictionIn(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{
		`{"prediction":1.5}`: 1.5, `{"a":"\"prediction\":3","prediction":-2e3}`: -2000, `{"prediction":7,"a":1}`: 7, "{\"prediction\":4 }\n": 4, `{ "prediction" : 5 }`: 5,
	} {
		if x, ok := predictionIn([]byte(text), "prediction"); !ok || x != want {
			t.Errorf("%s: %v, %v", text, x, ok)
		}
	}
	for _, text := range []string{"", "{", `{"a":1}`, `{"prediction":null}`, `{"prediction":"3"}`, `{"prediction":NaN}`, `[1]`, `{"prediction":Inf}`} {
		if x, ok := predictionIn([]byte(text), "prediction"); ok {
			t.Errorf("%s: %v", text, x)
		}
	}
}

func TestParsePlace(t *testing.T) {
	t.Parallel()
	if topic, p, o, ok := parsePlace([]byte("a.b-c/12/345")); !ok || topic != "a.b-c" || p != 12 || o != 345 {
		t.Error(topic, p, o, ok)
	}
	for _, text := range []string{"", "a", "a/1", "a/b/1", "a/1/b", "a/-1/1", "a/1/-1", "a/99999999999/1", "a/1/99999999999999999999", "a/1/99999999999999"} {
		if _, _, _, ok := parsePlace([]byte(text)); ok {
			t.Errorf("%q was read", text)
		}
	}
}
