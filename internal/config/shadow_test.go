package config

import (
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShadow(t *testing.T) {
	t.Parallel()
	inf := math.Inf(1)
	parse := func(shadow string, set ...string) (*Pipeline, error) {
		return Parse("p.yaml", []byte(checkedFile+shadow), Options{Set: set})
	}
	own := Shadow{Topic: "x.shadow", DeadLetter: "x.shadow.dlq", Group: "x-shadow", StateDir: "state/x-shadow"}
	for in, want := range map[string]Shadow{
		"":                            own,
		"shadow: {topic: s}":          {Topic: "s", DeadLetter: "s.dlq", Group: "x-shadow", StateDir: "state/x-shadow"},
		"shadow: {group: g}":          {Topic: "x.shadow", DeadLetter: "x.shadow.dlq", Group: "g", StateDir: "state/g"},
		"shadow: {state_dir: /other}": {Topic: "x.shadow", DeadLetter: "x.shadow.dlq", Group: "x-shadow", StateDir: "/other"},
		"shadow: {tolerance: {difference: 10, share: 1%, mean: 5, unpaired: 0, quantile: {of: 99%, max: 7}, loss: {worse_by: 2%}}}": func() Shadow {
			s := own
			s.Tolerance = &ShadowTolerance{
				Difference: 10, Share: 0.01, Mean: 5, Quantile: 0.99, At: 7, Loss: &LossTolerance{Metric: LossSquared, WorseBy: 0.02, Alpha: 0.05},
			}
			return s
		}(),
		"shadow: {tolerance: {mean: 0}}": func() Shadow {
			s := own
			s.Tolerance = &ShadowTolerance{Share: inf, Quantile: 1, At: inf, Unpaired: inf}
			return s
		}(),
	} {
		p, err := parse(in)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, p.Shadow); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for in, want := range map[string]string{
		"shadow: {topic: p}":                                       "shadow.topic, which is p, is sink.topic",
		"shadow: {topic: t}":                                       "is source.topic",
		"shadow: {dead_letter: q}":                                 "shadow.dead_letter, which is q, is dead_letter.topic",
		"shadow: {dead_letter: x.shadow}":                          "shadow.dead_letter is shadow.topic",
		"shadow: {group: x}":                                       "shadow.group, which is x, is a group of production",
		"shadow: {group: x-ab-challenger}":                         "is a group of production",
		"shadow: {topic: x-ab-challenger}":                         "is named as topics of the group x are",
		"shadow: {group: x-outcomes}":                              "is a group of production",
		"shadow: {topic: x-control}":                               "is the control topic",
		"shadow: {topic: x-w-changelog}":                           "is named as topics of the group x are",
		"shadow: {topic: x.checks}\nchecks: {window: {every: 1h}}": "is checks.window.topic",
		"shadow: {topic: c}\ntables: {z: {topic: c, schema: {enum: [zip]}, key: zip}}": "is tables.z.topic",
		"shadow: {topic: l}\noutcomes: {topic: l, horizon: 1d}":                        "is outcomes.topic",
		"shadow: {state_dir: state/x}":                                                 "shadow.state_dir is state.dir",
		"shadow: {tolerance: {difference: 1}}":                                         "bounds nothing by itself",
		"shadow: {tolerance: {share: 101%}}":                                           "shadow.tolerance.share: want a number from 0 to 1",
		"shadow: {tolerance: {quantile: {of: 99%}}}":                                   "quantile",
		"shadow: {tolerance: {loss: {metric: auc}}}":                                   "want squared_error or absolute_error",
	} {
		if _, err := parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
	if _, err := parse("", "shadow.topic=p"); err == nil || !strings.Contains(err.Error(), "is sink.topic") {
		t.Errorf("an override: %v", err)
	}
}

func TestShadowed(t *testing.T) {
	t.Parallel()
	p, err := Parse("p.yaml", []byte(checkedFile+"checks: {window: {every: 1h, on_fail: pause}}\nsample_features: {rate: 0.5}\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	production := p.Topics()
	s := p.Shadowed()
	if s.Controlled() || s.Samples.Rate != 0 || s.Checks.Window != nil || s.Group == p.Group || s.State.Dir == p.State.Dir {
		t.Errorf("a shadow has something of production: %+v", s)
	}
	for at, topic := range production {
		if topic == s.Sink.Topic || topic == s.DeadLetter.Topic {
			t.Errorf("a shadow writes to %s, which is %s", topic, at)
		}
	}
	if diff := cmp.Diff(production, p.Topics()); diff != "" {
		t.Errorf("making a shadow changes the pipeline: %s", diff)
	}
}
