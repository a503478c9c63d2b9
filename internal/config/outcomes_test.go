package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"millrace.dev/internal/outcome"
)

const outcomesFile = `version: 1
name: houses
schema: {time: [date], numeric: [price, sqft], enum: [id, zip]}
source: {topic: housing}
train: {data: houses.csv, label: price, ignore: [date]}
sink: {topic: predictions}
dead_letter: {topic: housing.dlq}
`

func parseOutcomes(text string) (*Pipeline, error) {
	return Parse("x.yaml", []byte(outcomesFile+text), Options{})
}

func names(o *Outcomes) (list []string) {
	for _, m := range o.Metrics {
		list = append(list, m.String())
	}
	return list
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	p, err := parseOutcomes("outcomes: {topic: housing.sold, horizon: 30d}\n")
	if err != nil {
		t.Fatal(err)
	}
	const day = 24 * time.Hour
	want := &Outcomes{
		Topic: "housing.sold", Field: "price", Predictions: []string{"predictions"}, Join: outcome.Options{Horizon: 30 * day, Grace: day}, Remember: 90 * day,
		Sink: "houses.outcomes", Cohorts: "houses.cohorts", DeadLetter: "houses.outcomes.dlq",
	}
	if d := cmp.Diff(want, p.Outcomes, cmpopts.IgnoreFields(Outcomes{}, "Metrics")); d != "" {
		t.Error(d)
	}
	if got := names(p.Outcomes); !slices.Equal(got, []string{"squared_error", "absolute_error"}) {
		t.Errorf("metrics %v", got)
	}
	if p.OutcomesGroup() != "houses-outcomes" || p.OutcomesState() != "state/houses-outcomes" {
		t.Errorf("group %s, state %s", p.OutcomesGroup(), p.OutcomesState())
	}
	p, err = parseOutcomes(`outcomes:
  {topic: sold, key: id, field: sold_for, horizon: 1h, early: 1d, grace: 2d, prediction_time: date, label_time: sold_at, predictions: [predictions, houses.shadow],
   unit: zip, metrics: [pinball_0.9, auc, log_loss], remember: 7d, sink: a, cohorts: b, dead_letter: c}
`)
	if err != nil {
		t.Fatal(err)
	}
	want = &Outcomes{
		Topic: "sold", Key: "id", Field: "sold_for", Predictions: []string{"predictions", "houses.shadow"}, PredictionTime: "date", LabelTime: "sold_at", Unit: "zip", Curve: true,
		Join: outcome.Options{Horizon: time.Hour, Early: day, Grace: 2 * day}, Remember: 7 * day, Sink: "a", Cohorts: "b", DeadLetter: "c",
	}
	if d := cmp.Diff(want, p.Outcomes, cmpopts.IgnoreFields(Outcomes{}, "Metrics")); d != "" {
		t.Error(d)
	}
	if got := names(p.Outcomes); !slices.Equal(got, []string{"pinball_0.9", "log_loss"}) {
		t.Errorf("metrics %v", got)
	}
	p, err = parseOutcomes("ab: {key: zip, arms: {a: {model: \"@champion\"}, b: {model: houses@2}}}\noutcomes: {topic: sold, horizon: 1h}\n")
	if err != nil || p.Outcomes.Unit != "zip" {
		t.Errorf("units by %q, %v: want those of the experiment", p.Outcomes.Unit, err)
	}
	if p, err := parseOutcomes(""); err != nil || p.Outcomes != nil {
		t.Errorf("without the section: %+v, %v", p, err)
	}
}

func TestBadOutcomes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"{topic: sold}":                                                                "outcomes.horizon is missing",
		"{horizon: 1d}":                                                                "outcomes.topic is missing",
		"{topic: sold, horizon: 0s}":                                                   "horizon",
		"{topic: sold, horizon: 100000d}":                                              "horizon",
		"{topic: sold, horizon: 1d, key: sqft}":                                        "a key is a text",
		"{topic: sold, horizon: 1d, key: idd}":                                         "has no field",
		"{topic: sold, horizon: 1d, unit: sqft}":                                       "a key is a text",
		"{topic: sold, horizon: 1d, key: id, field: id}":                               "is the key or the time of the labels",
		"{topic: sold, horizon: 1d, prediction_time: zip}":                             "is a field of type enum",
		"{topic: sold, horizon: 1d, prediction_time: sold_at}":                         "has no field",
		"{topic: sold, horizon: 1d, label_time: price}":                                "is a field of type numeric",
		"{topic: sold, horizon: 1d, metrics: [rmse]}":                                  "want squared_error",
		"{topic: sold, horizon: 1d, metrics: [pinball_1]}":                             "want squared_error",
		"{topic: sold, horizon: 1d, metrics: [brier, brier]}":                          "twice",
		"{topic: sold, horizon: 1d, metrics: [" + strings.Repeat("brier, ", 33) + "]}": "want 32 at most",
		"{topic: sold, horizon: 1d, metrics: []}":                                      "metrics",
		"{topic: predictions, horizon: 1d}":                                            "is a topic of predictions",
		"{topic: sold, horizon: 1d, predictions: [a, a]}":                              "twice",
		"{topic: sold, horizon: 1d, sink: sold}":                                       "is outcomes.topic too",
		"{topic: sold, horizon: 1d, cohorts: predictions}":                             "is sink.topic too",
		"{topic: sold, horizon: 1d, dead_letter: housing.dlq}":                         "is dead_letter.topic too",
		"{topic: sold, horizon: 1d, dead_letter: a, sink: a}":                          "is outcomes.dead_letter too",
		"{topic: sold, horizon: 1d, cohorts: houses-control}":                          "is the control topic too",
		"{topic: sold, horizon: 1d, within: 3d}":                                       "within",
		"{topic: sold, horizon: 1d, sink: \"no topic\"}":                               "outcomes.sink",
		"{topic: sold, horizon: 1d, predictions: [x], cohorts: \"x\"}":                 "is a topic of predictions too",
	} {
		_, err := parseOutcomes("outcomes: " + text + "\n")
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}
