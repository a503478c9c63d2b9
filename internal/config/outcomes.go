package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
	"millrace.dev/record"
)

// Outcomes say how predictions find their labels: see docs/outcomes.md.
type Outcomes struct {
	Topic string // of the labels
	Key   string // the enum or string field of predictions and labels; "" is the keys of their messages
	Field string // of the label's records: its value
	// Predictions are the topics of predictions: the sink, and those of shadows.
	Predictions []string
	// PredictionTime and LabelTime are the time fields that are the event times; "" is the timestamps of the messages.
	PredictionTime, LabelTime string
	// Unit is the field of predictions that tells the units of experiments apart; "" is the key of the message.
	Unit    string
	Metrics []experiment.Metric
	// Curve says that auc is among the metrics, which is not added up as a loss.
	Curve    bool
	Join     outcome.Options
	Remember time.Duration // how long units are known: see outcome.TallyOptions
	// Sink, Cohorts and DeadLetter are the topics that are written.
	Sink, Cohorts, DeadLetter string
}

// OutcomesGroup returns the consumer group, and the name, of the application that joins predictions with labels.
func (p *Pipeline) OutcomesGroup() string { return cmp.Or(p.Group, p.Name) + "-outcomes" }

// OutcomesState returns the folder of its state.
func (p *Pipeline) OutcomesState() string { return p.State.Dir + "-outcomes" }

// maxHorizon bounds the times of outcomes.
const maxHorizon = 10 * 366 * 24 * time.Hour

func outcomesFields() []field {
	return []field{
		{key: "topic", kind: kindText, required: true, check: checkTopic, example: "housing.sold", doc: "The topic of the labels, one JSON object each"},
		{key: "key", kind: kindText, defDoc: "the keys of the messages", example: "id", doc: "The enum or string field, of predictions and labels, by which they are joined"},
		{key: "field", kind: kindText, defDoc: "the name of the label", example: "price", doc: "The field that has the label"},
		{
			key: "horizon", kind: kindDuration, required: true, example: "30d", least: float64(time.Millisecond), most: float64(maxHorizon),
			doc: "How long after a prediction a label is its label, by their event times",
		},
		{
			key: "early", kind: kindDuration, def: "0s", least: 0, most: float64(maxHorizon),
			doc: "By how much a label may be older than its prediction: 24h where labels have a date and no time, or where clocks differ",
		},
		{
			key: "grace", kind: kindDuration, def: "24h", least: 0, most: float64(maxHorizon),
			doc: "How late a label or a prediction may come to its topic: a prediction expires after horizon and grace",
		},
		{key: "prediction_time", kind: kindText, defDoc: "the timestamps of the messages", doc: "The time field that is the event time of a prediction"},
		{key: "label_time", kind: kindText, defDoc: "the timestamps of the messages", example: "sold_at", doc: "The field that is the event time of a label; one that is not in the schema is read as a time field without layouts is"},
		{
			key: "predictions", kind: kindList, commas: true, least: 1, defDoc: "the topic of the sink",
			doc:  "The topics of the predictions; beside the sink these may be the sinks of shadows",
			item: &field{kind: kindText, check: checkTopic, doc: "A topic"},
		},
		{key: "unit", kind: kindText, defDoc: "ab.key, or else the keys of the messages", doc: "The enum or string field of predictions by which experiments tell their units apart"},
		{
			key: "metrics", kind: kindList, commas: true, least: 1, defDoc: "squared_error and absolute_error",
			doc:  "What is added up by experiment, arm, model and day: squared_error, absolute_error, pinball_0.9 with any quantile; log_loss, brier and auc, of probabilities",
			item: &field{kind: kindText, check: checkMetric, doc: "A metric"},
		},
		{
			key: "remember", kind: kindDuration, def: "90d", least: 0, most: float64(maxHorizon),
			doc: "How long a unit of an experiment is known after its last prediction has its outcome",
		},
		{key: "sink", kind: kindText, check: checkTopic, defDoc: "the name, with .outcomes behind", example: "housing.outcomes", doc: "The topic of the outcomes, one record for each prediction"},
		{key: "cohorts", kind: kindText, check: checkTopic, defDoc: "the name, with .cohorts behind", example: "housing.cohorts", doc: "The topic of the sums, which has to be compacted"},
		{
			key: "dead_letter", kind: kindText, check: checkTopic, defDoc: "the name, with .outcomes.dlq behind", example: "housing.outcomes.dlq",
			doc: "The topic of the labels and predictions that cannot be read",
		},
	}
}

func checkMetric(s string) *fault {
	if s == experiment.MetricAUC {
		return nil
	}
	if m, err := experiment.ParseMetric(s); err != nil || m.String() != s {
		return &fault{"want squared_error, absolute_error, pinball_0.9 with any quantile, log_loss, brier or auc", ""}
	}
	return nil
}

// lintOutcomes makes what says how predictions find their labels. Columns, label and the experiment are known.
func (d *decoder) lintOutcomes(v value) {
	if v.node == nil || d.failed["outcomes"] {
		return
	}
	f, p := v.fields, d.p
	predictions, metrics := f["predictions"], f["metrics"]
	o := &Outcomes{
		Topic: f["topic"].text, Key: f["key"].text, Field: cmp.Or(f["field"].text, p.Train.Label), Predictions: predictions.texts(),
		PredictionTime: f["prediction_time"].text, LabelTime: f["label_time"].text, Unit: f["unit"].text,
		Join:     outcome.Options{Horizon: f["horizon"].time, Early: f["early"].time, Grace: f["grace"].time},
		Remember: f["remember"].time,
		Sink:     cmp.Or(f["sink"].text, p.Name+".outcomes"), Cohorts: cmp.Or(f["cohorts"].text, p.Name+".cohorts"),
		DeadLetter: cmp.Or(f["dead_letter"].text, p.Name+".outcomes.dlq"),
	}
	if len(o.Predictions) == 0 {
		o.Predictions = []string{p.Sink.Topic}
	}
	if o.Unit == "" && p.AB != nil {
		o.Unit = p.AB.Key
	}
	names := metrics.texts()
	if len(names) == 0 {
		names = []string{"squared_error", "absolute_error"}
	}
	for _, name := range names {
		if name == experiment.MetricAUC {
			o.Curve = true
		} else if m, err := experiment.ParseMetric(name); err == nil {
			o.Metrics = append(o.Metrics, m)
		}
	}
	p.Outcomes = o
	if len(names) > outcome.MaxMetrics {
		d.reportAt("outcomes.metrics", fmt.Sprintf("outcomes.metrics has %d: want %d at most", len(names), outcome.MaxMetrics), "")
	}
	d.lintOutcomeFields(o)
	d.lintOutcomeTopics(o)
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			d.reportAt(fmt.Sprintf("outcomes.metrics[%d]", i), "outcomes.metrics names "+name+" twice", "")
		}
	}
}

// lintOutcomeFields wants keys that are texts and times that are times.
func (d *decoder) lintOutcomeFields(o *Outcomes) {
	d.lintTextKey("outcomes.key", o.Key)
	if d.at["outcomes.unit"] != nil {
		d.lintTextKey("outcomes.unit", o.Unit)
	}
	for _, name := range []string{o.Key, o.LabelTime} {
		if name != "" && name == o.Field {
			d.reportAt("outcomes.field", "outcomes.field: "+quote(name)+" is the key or the time of the labels", "name the field that has the label")
		}
	}
	for _, t := range []struct {
		at, name string
		known    bool // has to be in the schema
	}{{"outcomes.prediction_time", o.PredictionTime, true}, {"outcomes.label_time", o.LabelTime, false}} {
		if t.name == "" || len(d.columns) == 0 {
			continue
		}
		switch i, ok := d.column(t.name); {
		case !ok && t.known:
			d.reportAt(t.at, t.at+": the schema has no field "+d.shown(t.at, t.name), meant(t.name, d.columnNames(), "declare it under schema.time, and name it in train.ignore"))
		case ok && d.columns[i].Type != record.Time:
			d.reportAt(t.at, fmt.Sprintf("%s: %s is a field of type %s", t.at, d.shown(t.at, t.name), d.columns[i].Type), "declare it under schema.time")
		}
	}
}

// lintOutcomeTopics wants what is written to have topics of its own.
func (d *decoder) lintOutcomeTopics(o *Outcomes) {
	p := d.p
	taken := map[string]string{}
	for _, name := range o.Predictions {
		taken[name] = "a topic of predictions"
	}
	others := map[string]string{
		"source.topic": p.Source.Topic, "sink.topic": p.Sink.Topic, "dead_letter.topic": p.DeadLetter.Topic, "outcomes.topic": o.Topic,
		"the control topic": p.ControlTopic(), "the status topic": p.StatusTopic(),
	}
	for _, at := range slices.Sorted(maps.Keys(others)) {
		taken[others[at]] = at
	}
	if p.Samples.Rate > 0 {
		taken[p.Samples.Topic] = "sample_features.topic"
	}
	if p.Checks.Window != nil {
		taken[p.Checks.Window.Topic] = "checks.window.topic"
	}
	for i := range p.Tables {
		taken[p.Tables[i].Topic] = "tables." + p.Tables[i].Name + ".topic"
	}
	written := map[string]string{"outcomes.sink": o.Sink, "outcomes.cohorts": o.Cohorts, "outcomes.dead_letter": o.DeadLetter}
	for _, at := range slices.Sorted(maps.Keys(written)) {
		if other, ok := taken[written[at]]; ok {
			d.reportAt(at, fmt.Sprintf("%s, which is %s, is %s too", at, written[at], other), "choose another name")
		}
		taken[written[at]] = at
	}
	if slices.Contains(o.Predictions, o.Topic) {
		d.reportAt("outcomes.topic", "outcomes.topic is a topic of predictions", "name the topic that has the labels")
	}
	for i, name := range o.Predictions {
		if slices.Contains(o.Predictions[:i], name) {
			d.reportAt(fmt.Sprintf("outcomes.predictions[%d]", i), "outcomes.predictions names "+name+" twice", "")
		}
	}
	if checkTopic(p.OutcomesGroup()+"-outcomes-changelog") != nil && d.at["group"] != nil && !d.failed["group"] {
		d.reportAt("group", "group: millrace outcomes makes topics whose names begin with it, and this is too long for that", "shorten it")
	}
}
