package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const abFile = `version: 1
name: house-prices
schema: {numeric: [price, sqft], enum: [id]}
source: {topic: housing}
train: {data: houses.csv, label: price}
sink: {topic: predictions}
dead_letter: {topic: housing.dlq}
ab:
`

func TestAB(t *testing.T) {
	t.Parallel()
	p, err := parseAB(`  name: pricing-2
  key: id
  arms:
    control: {model: "@champion", weight: 90}
    challenger: {model: house-prices@4, weight: 10}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := &AB{
		Name: "pricing-2", Split: SplitKey, Key: "id", Salt: "pricing-2", Alpha: 0.05, Test: TestSequential,
		Correction: CorrectHolm, MinUnits: 100, Units: 5000,
		Arms: []ABArm{{Name: "control", Model: "@champion", Weight: 90}, {Name: "challenger", Model: "house-prices@4", Weight: 10}},
	}
	if d := cmp.Diff(want, p.AB); d != "" {
		t.Error(d)
	}
}

func TestBadAB(t *testing.T) {
	t.Parallel()
	const arms = `  arms: {a: {model: "@champion"}, b: {model: x@1}}
`
	for text, want := range map[string]string{
		"  name: x\n":                                                        "ab.arms is missing",
		"  arms: {a: {model: \"@champion\"}}\n":                              "want from 2 to 16 arms",
		"  arms: {a: {weight: 1}, b: {model: x@1}}\n":                        "ab.arms.a.model is missing",
		"  arms: {a: {model: x@1, weight: 0}, b: {model: x@2, weight: 0}}\n": "no arm has a weight",
		"  arms: {a: {model: x@1, weight: -1}, b: {model: x@2}}\n":           "weight",
		"  arms: {A b: {model: x@1}, b: {model: x@2}}\n":                     "small letters",
		"  key: sqft\n" + arms:                                               "a key is a text",
		"  key: nothing\n" + arms:                                            "no field",
		"  split: partition\n  key: id\n" + arms:                             "no key is looked at",
		"  split: half\n" + arms:                                             "split",
		"  alpha: 0\n" + arms:                                                "alpha",
	} {
		_, err := parseAB(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

func parseAB(text string) (*Pipeline, error) {
	return Parse("x.yaml", []byte(abFile+text), Options{})
}
