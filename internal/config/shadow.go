package config

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	datasource "millrace.dev/internal/source"
)

// Shadow says where a candidate that predicts the production topic writes to, and how far its predictions may be from those of
// production.
type Shadow struct {
	Topic      string // of its predictions
	DeadLetter string // the topic of its dead letters
	Group      string // its consumer group
	StateDir   string // a folder
	Tolerance  *ShadowTolerance
}

// ShadowTolerance bounds what millrace compare finds. A bound of +Inf is one that the file does not have.
type ShadowTolerance struct {
	// Difference is the distance of two predictions from which on a record counts as different, exclusive.
	Difference float64
	Share      float64 // the largest share of such records
	Mean       float64 // the largest magnitude of the mean difference
	// Quantile and At bound a quantile of the magnitudes of the differences: the Quantile is at most At.
	Quantile, At float64
	Unpaired     float64 // the largest share of records that only one side has predicted
	// Loss refuses a candidate that is worse than production, by labels.
	Loss *LossTolerance
}

// LossTolerance says when a candidate is worse.
type LossTolerance struct {
	Metric string // LossSquared or LossAbsolute
	// WorseBy is the share of production's mean loss by which the candidate's may be above it.
	WorseBy float64
	// Alpha is the rate of wrong verdicts, however often one looks.
	Alpha float64
}

// The losses of a prediction.
const (
	LossSquared  = "squared_error"
	LossAbsolute = "absolute_error"
)

func shadowFields() []field {
	return []field{
		{
			key: "topic", kind: kindText, check: checkTopic, defDoc: "the name, with .shadow behind", example: "house-prices.shadow",
			doc: "The topic of the candidate's predictions, never one of the pipeline's own",
			set: func(p *Pipeline, v value) { p.Shadow.Topic = v.text },
		},
		{
			key: "dead_letter", kind: kindText, check: checkTopic, defDoc: "that topic, with .dlq behind", example: "house-prices.shadow.dlq",
			doc: "The topic of the records that get no prediction of the candidate",
			set: func(p *Pipeline, v value) { p.Shadow.DeadLetter = v.text },
		},
		{
			key: "group", kind: kindText, check: checkGroup, defDoc: "the group, with -shadow behind",
			doc: "The consumer group of the candidate, never the pipeline's own",
			set: func(p *Pipeline, v value) { p.Shadow.Group = v.text },
		},
		{
			key: "state_dir", kind: kindPath, defDoc: "the folder state/GROUP of that group beside the file",
			doc: "The folder of the candidate's state, for one process alone; best on a volume of its own, so that a full one is nobody else's",
			set: func(p *Pipeline, v value) { p.Shadow.StateDir = v.text },
		},
		{
			key: "tolerance", kind: kindMapping, fields: toleranceFields(),
			doc: "How far the candidate's predictions may be from those of production: millrace compare ends with 3 beyond it; see [shadow](../shadow.md)",
		},
	}
}

func toleranceFields() []field {
	bound := func(key, doc string) field {
		return field{key: key, kind: kindNumber, defDoc: "none", bounded: true, least: 0, most: math.MaxFloat64, want: "a number of at least 0", doc: doc}
	}
	return []field{
		func() field {
			f := bound("difference", "The distance of two predictions, in the unit of the label, beyond which a record counts as different")
			f.defDoc, f.def = "", "0"
			return f
		}(),
		{key: "share", kind: kindShare, defDoc: "none", least: 0, most: 1, doc: "The largest share of records that are different"},
		bound("mean", "The largest mean difference, candidate minus production, without its sign"),
		{key: "quantile", kind: kindMapping, doc: "Bounds a quantile of the differences without their signs", fields: []field{
			{key: "of", kind: kindShare, required: true, least: 0, most: 1, example: "99%", doc: "Which quantile"},
			{key: "max", kind: kindNumber, required: true, bounded: true, least: 0, most: math.MaxFloat64, want: "a number of at least 0", example: "25000", doc: "Its largest value"},
		}},
		{key: "unpaired", kind: kindShare, defDoc: "none", least: 0, most: 1, doc: "The largest share of records that one side has predicted and the other has not, within what both have read"},
		{key: "loss", kind: kindMapping, doc: "Refuses a candidate that is worse by the labels of outcomes", fields: []field{
			{key: "metric", kind: kindText, def: LossSquared, allowed: []string{LossSquared, LossAbsolute}, doc: "The loss of a prediction"},
			{key: "worse_by", kind: kindShare, def: "0", least: 0, most: 10, doc: "By how much the candidate's mean loss may be above production's, as a share of it"},
			{
				key: "alpha", kind: kindNumber, def: "0.05", bounded: true, least: 1e-6, most: 0.5,
				doc: "The probability of a wrong verdict at most, however often one looks",
			},
		}},
	}
}

// lintShadow completes the shadow, and wants that it has nothing in common with the pipeline.
func (d *decoder) lintShadow(v value) {
	p := d.p
	s := &p.Shadow
	s.Topic = cmp.Or(s.Topic, p.Name+".shadow")
	s.DeadLetter = cmp.Or(s.DeadLetter, s.Topic+".dlq")
	s.Group = cmp.Or(s.Group, p.Group+"-shadow")
	s.StateDir = cmp.Or(s.StateDir, d.path("state/"+s.Group))
	d.lintTolerance(v.fields["tolerance"])
	given := func(key string) bool { return d.at["shadow."+key] != nil }
	if !given("topic") && !given("dead_letter") && !given("group") && !given("state_dir") {
		return // a pipeline may be without one; who runs it checks it all the same
	}
	for _, c := range s.Conflicts(p) {
		d.reportAt(c.Key, c.String(), c.Hint)
	}
}

// lintTolerance makes the tolerance.
func (d *decoder) lintTolerance(v value) {
	const path = "shadow.tolerance"
	if v.node == nil || d.failed[path] {
		return
	}
	or := func(path string, v value) float64 {
		if d.keys[path] == nil {
			return math.Inf(1)
		}
		return v.number
	}
	f := v.fields
	t := &ShadowTolerance{
		Difference: f["difference"].number, Share: or(path+".share", f["share"]), Mean: or(path+".mean", f["mean"]),
		Unpaired: or(path+".unpaired", f["unpaired"]), Quantile: 1, At: math.Inf(1),
	}
	if d.keys[path+".quantile"] != nil && !d.failed[path+".quantile"] {
		t.Quantile, t.At = f["quantile"].fields["of"].number, f["quantile"].fields["max"].number
	}
	if d.keys[path+".loss"] != nil && !d.failed[path+".loss"] {
		l := f["loss"].fields
		t.Loss = &LossTolerance{Metric: l["metric"].text, WorseBy: l["worse_by"].number, Alpha: l["alpha"].number}
	}
	d.p.Shadow.Tolerance = t
	if d.keys[path+".difference"] != nil && d.keys[path+".share"] == nil {
		d.reportAt(path+".difference", path+".difference bounds nothing by itself", "add share, the largest share of records that differ by more than that: 0 is none")
	}
}

// Topics returns every topic that the pipeline reads or writes in production, by the key of the file that names it, or that its
// name is made of.
func (p *Pipeline) Topics() map[string]string {
	topics := map[string]string{
		"source.topic": p.Source.Topic, "sink.topic": p.Sink.Topic, "dead_letter.topic": p.DeadLetter.Topic, "sample_features.topic": p.Samples.Topic,
		"the control topic": p.ControlTopic(), "the status topic": p.StatusTopic(),
	}
	if p.Checks.Window != nil {
		topics["checks.window.topic"] = p.Checks.Window.Topic
	}
	if o := p.Outcomes; o != nil {
		topics["outcomes.topic"], topics["outcomes.sink"], topics["outcomes.cohorts"], topics["outcomes.dead_letter"] = o.Topic, o.Sink, o.Cohorts, o.DeadLetter
	}
	for i := range p.Tables {
		topics["tables."+p.Tables[i].Name+".topic"] = p.Tables[i].Topic
		topics["tables."+p.Tables[i].Name+".data"] = datasource.TopicOf(p.Tables[i].Data)
	}
	topics["train.data"], topics["train.labels.data"] = datasource.TopicOf(p.Train.Data), datasource.TopicOf(p.Train.Labels.Data)
	maps.DeleteFunc(topics, func(_, topic string) bool { return topic == "" })
	return topics
}

// Conflict is what a shadow has in common with production.
type Conflict struct {
	Key     string // of the file
	Message string
	Hint    string
}

// String says what is in common.
func (c Conflict) String() string { return c.Key + c.Message }

// Conflicts returns what a shadow has in common with the production of a pipeline, nil for nothing.
func (s *Shadow) Conflicts(of *Pipeline) []Conflict {
	var list []Conflict
	add := func(key, hint, format string, args ...any) {
		list = append(list, Conflict{"shadow." + key, fmt.Sprintf(format, args...), hint})
	}
	const own = "give it one of its own"
	topics := of.Topics()
	for _, mine := range []struct{ key, topic string }{{"topic", s.Topic}, {"dead_letter", s.DeadLetter}} {
		for _, at := range slices.Sorted(maps.Keys(topics)) {
			if topics[at] == mine.topic {
				add(mine.key, own, ", which is %s, is %s: a shadow never writes to a topic of production", mine.topic, at)
				break
			}
		}
		if of.internalTopic(mine.topic) {
			add(mine.key, own, ", which is %s, is named as topics of the group %s are: changelogs, repartition topics, and those of arms", mine.topic, of.Group)
		}
	}
	if s.Topic == s.DeadLetter {
		add("dead_letter", own, " is shadow.topic")
	}
	// The names that are made of the group's belong to what runs beside it.
	for _, taken := range []string{of.Group, of.Group + "-schedule", of.OutcomesGroup()} {
		if s.Group == taken || strings.HasPrefix(s.Group, of.Group+armInfix) {
			add("group", own, ", which is %s, is a group of production: the shadow would take its partitions", s.Group)
			break
		}
	}
	if s.StateDir == of.State.Dir {
		add("state_dir", own, " is state.dir: the shadow would have production's state")
	}
	return list
}

// internalTopic tells whether a topic is named as one that the engine makes for production.
func (p *Pipeline) internalTopic(topic string) bool {
	if !strings.HasPrefix(topic, p.Group+"-") {
		return false
	}
	return strings.HasSuffix(topic, "-changelog") || strings.HasSuffix(topic, "-repartition") || strings.HasPrefix(topic, p.Group+armInfix)
}

// armInfix stands between the group and the arm in the names of groups and topics of an experiment with groups.
const armInfix = "-ab-"

// Shadowed returns the pipeline that a shadow of p is: it reads what p reads, and writes nothing that p writes. It does as no
// control topic says, judges no windows, takes no samples, and is for one model.
func (p *Pipeline) Shadowed() *Pipeline {
	s := *p
	s.Sink.Topic, s.DeadLetter.Topic, s.Group, s.State.Dir = p.Shadow.Topic, p.Shadow.DeadLetter, p.Shadow.Group, p.Shadow.StateDir
	s.Samples, s.Checks.Window, s.Schedule, s.Model.Update, s.AB, s.Outcomes = Samples{}, nil, nil, RestartUpdate, nil, nil
	return &s
}
