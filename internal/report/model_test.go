package report

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"millrace.dev/gbm"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// subject returns a model that has nothing to be remarked on.
func subject(t *testing.T) *Subject {
	t.Helper()
	x := []float64{1, 2, 3, 4}
	params := gbm.DefaultParams()
	params.NTrees, params.MinRows = 1, 1
	frame := &record.Frame{Rows: 4, Columns: []record.Column{{Name: "sqft_living", Type: record.Numeric, Numbers: x}}}
	forest, _, err := gbm.Train(t.Context(), params, gbm.Dataset{Frame: frame, Label: x}, nil, gbm.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	scores := model.Scores{RMSE: 190_000, MAE: 90_000, R2: 0.72, LabelMean: 550_000, Rows: 500}
	b := &model.Bundle{
		Manifest: model.Manifest{Name: "houses", Label: "price", LabelUnit: "$", SinkField: "prediction", Millrace: "0.9.0"}, Forest: forest,
		Inputs:  []model.Input{{Name: "city", Type: record.Enum, Levels: 4, Importance: 0.4}, {Name: "sqft_living", Importance: 0.5}, {Name: "floors", Importance: 0.1}},
		Metrics: model.Metrics{Train: scores, Validation: scores, Test: scores},
		History: model.History{Best: 2, Stopped: true, Rounds: []model.Round{{Trees: 1, Loss: 3, RMSE: 9}, {Trees: 2, Loss: 2, RMSE: 7}, {Trees: 3, Loss: 1, RMSE: 8}}},
		Profile: houses(),
		Lineage: model.Lineage{
			DataName: "houses.csv", DataDigest: "sha256:aa", Params: text, Where: "price > 0", RunID: "nightly-7", Inputs: []string{"sqft_living", "city", "floors"},
			Rows:     model.Rows{Read: 5000, Excluded: 10, Reasons: []model.Exclusion{{Reason: "not price > 0", Rows: 10}}, Train: 3500, Validation: 990, Test: 500},
			Split:    model.Split{Train: 0.7, Validation: 0.2, Test: 0.1, Seed: 42},
			Features: []model.FeatureSource{{Name: "age", Expr: "year(date) - yr_built"}},
			Labels:   &model.LabelSource{DataName: "sold.csv", DataDigest: "sha256:bb", Field: "price"},
			Tables:   []model.TableSource{{Name: "zips", DataName: "zips.csv", DataDigest: "sha256:cc"}},
		},
		Evaluation: &model.Evaluation{
			Rows: 500, MeanRMSE: 380_000, MeanMAE: 180_000, Edges: []float64{200_000, 400_000}, Grid: []int{100, 20, 0, 30, 150, 50, 0, 50, 100},
			ErrorEdges: []float64{-100_000, 0, 100_000}, ErrorCounts: []int{50, 200, 200, 50},
			Groups: []model.ErrorGroup{
				{Upper: 300_000, Rows: 250, Bias: 1000, MAE: 50_000, Low: -90_000, Median: 500, High: 90_000},
				{Upper: 900_000, Rows: 250, Bias: -2000, MAE: 130_000, Low: -200_000, Median: 0, High: 210_000},
			},
			Absolute: []model.ErrorQuantile{{P: 0.5, Error: 50_000}, {P: 0.9, Error: 170_000}, {P: 1, Error: 2e6}},
			Relative: []model.ErrorQuantile{{P: 0.5, Error: 0.1}, {P: 0.9, Error: 0.35}, {P: 1, Error: 1.4}},
		},
	}
	at := time.Date(2014, 7, 10, 2, 0, 0, 0, time.UTC)
	return &Subject{
		Bundle: b, Ref: "houses@3", Digest: "sha256:dd", Bytes: 123_456, State: "approved", Aliases: []string{"@champion"}, RegisteredBy: "ada", RegisteredAt: at,
		DecidedBy: "grace", DecidedAt: at, Reason: "good enough", Log: []Event{{at, "register", "ada", ""}, {at, "approve", "grace", "good enough"}},
	}
}

func TestModelText(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if err := ModelText(&b, subject(t)); err != nil {
		t.Fatal(err)
	}
	golden(t, "model.txt", b.Bytes())
}

func TestModelPage(t *testing.T) {
	t.Parallel()
	s := subject(t)
	var b, again bytes.Buffer
	if err := Model(&b, s); err != nil {
		t.Fatal(err)
	}
	checkPage(t, b.String())
	for _, want := range []string{
		"houses@3 <span class=\"state approved\">approved</span>", "50.0% less than predicting the mean: 380,000 $", "error: price ($)", "RMSE ($)", "kept: 2 trees",
		"year(date) - yr_built", "sold.csv, sha256:bb", "zips.csv, sha256:cc", "nightly-7", "not price &gt; 0", "sqft_living between 370 and 14000", "approve by grace: good enough",
		"prediction = label", "sha256:dd",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if err := Model(&again, subject(t)); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
		t.Errorf("the same model gives another page: %v", err)
	}
}

// TestModelWithoutMuch shows what a bundle of before has: no evaluation; and no registry, no profile, no measures.
func TestModelWithoutMuch(t *testing.T) {
	t.Parallel()
	s := subject(t)
	nan := math.NaN()
	s.Bundle.Evaluation, s.Bundle.Profile, s.Bundle.History = nil, nil, model.History{}
	s.Bundle.Metrics.Test = model.Scores{RMSE: nan, MAE: nan, R2: nan, LabelMean: nan}
	s.Bundle.Lineage = model.Lineage{Params: json.RawMessage("{}")}
	s.Bundle.Inputs, s.Bundle.Manifest.LabelUnit = nil, ""
	s = &Subject{Bundle: s.Bundle, Ref: "houses.millrace", Digest: s.Digest}
	var page, text bytes.Buffer
	if err := Model(&page, s); err != nil {
		t.Fatal(err)
	}
	checkPage(t, page.String())
	if err := ModelText(&text, s); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{page.String(), text.String()} {
		if !strings.Contains(out, "train it again") || strings.Contains(out, "NaN") || strings.Contains(out, "0001-01-01") {
			t.Errorf("%s", out)
		}
	}
}

func TestRemarks(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*model.Bundle)
		want   string
	}{
		"nothing":       {func(*model.Bundle) {}, ""},
		"no better":     {func(b *model.Bundle) { b.Metrics.Test.R2, b.Metrics.Train.R2 = -0.1, 0 }, "no better"},
		"learnt rows":   {func(b *model.Bundle) { b.Metrics.Train.R2 = 0.99 }, "knows the training rows better"},
		"wrong labels":  {func(b *model.Bundle) { b.Metrics.Train.R2 = 0.3 }, "wrong labels"},
		"few rows":      {func(b *model.Bundle) { b.Metrics.Test.Rows = 20 }, "has 20 rows"},
		"excluded":      {func(b *model.Bundle) { b.Lineage.Rows.Excluded = 1000 }, "20.0% of the rows were left out"},
		"more trees":    {func(b *model.Bundle) { b.History.Stopped, b.History.Best = false, 3 }, "more trees"},
		"biased":        {func(b *model.Bundle) { b.Evaluation.Groups[1].Bias = -90_000 }, "above 300k by -90,000"},
		"bias of few":   {func(b *model.Bundle) { b.Evaluation.Groups[1].Bias, b.Evaluation.Groups[1].Rows = -90_000, 3 }, ""},
		"one input":     {func(b *model.Bundle) { b.Inputs[0].Importance = 0.95 }, "city alone has 95.0%"},
		"unused":        {func(b *model.Bundle) { b.Inputs[2].Importance = 0 }, "does not use: floors"},
		"often missing": {func(b *model.Bundle) { b.Profile.Columns[1].Missing = 400 }, "often missing: floors (40.0%)"},
		"single value":  {func(b *model.Bundle) { b.Profile.Columns[1].Distinct = 1 }, "single value: floors"},
		"hostile": {func(b *model.Bundle) {
			b.Inputs[0].Name, b.Inputs[0].Importance = strings.Repeat("\x1b", 500), 0.9
		}, `\u001b\u001b`},
	} {
		s := subject(t)
		tc.change(s.Bundle)
		got := strings.Join(s.remarks(), "\n")
		if tc.want == "" && got != "" || !strings.Contains(got, tc.want) || len(got) > 400 || strings.Contains(got, "\x1b") {
			t.Errorf("%s: %q, want %q", name, got, tc.want)
		}
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		low, high float64
		want      string
	}{
		{370, 13540, "370 14000"},
		{0, 9, "0 9"},
		{-0.0123, 0.0456, "-0.013 0.046"},
		{1900, 2014, "1900 2100"},
		{-26_590_000, 1e-9, "-27000000 1e-09"},
		{-math.MaxFloat64, math.MaxFloat64, "-1.7976931348623157e+308 1.7976931348623157e+308"},
		{5e-324, 1, "0 1"},
	} {
		low, high := outward(tc.low, tc.high)
		if got := low + " " + high; got != tc.want {
			t.Errorf("%v to %v: %q, want %q", tc.low, tc.high, got, tc.want)
		}
	}
	s := subject(t)
	s.Bundle.Profile.Columns[0].Name, s.Bundle.Inputs[1].Name = "a: b}", "a: b}"
	s.Bundle.Profile.Columns[1].Role = profile.Feature
	if got, want := s.checks(), "checks:\n  record:\n    - {rule: city in training, otherwise: warn}\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
