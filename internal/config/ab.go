package config

import (
	"cmp"
	"fmt"
	"math"

	"millrace.dev/internal/assign"
	"millrace.dev/model"
)

// AB is an experiment: several models, each for a part of the records.
type AB struct {
	Name string
	// Split is what decides to which arm a record goes.
	Split SplitBy
	// Key is the field whose text is the key; "" is the key of the message. It is for SplitKey and SplitGroups.
	Key  string
	Salt string
	// Override is the header of a record that may name its arm; "" is none.
	Override string
	Arms     []ABArm // at least two, the control first
	// Alpha is the chance of a wrong verdict on all metrics and arms together.
	Alpha float64
	// Test is how arms are compared.
	Test ABTest
	// Correction is how several metrics and arms are allowed for.
	Correction Correction
	// MinUnits is how many keys of an arm need an outcome before it is judged.
	MinUnits int
	// Units is how many keys, of all arms together, the experiment is planned for: see millrace ab plan.
	Units int
	// Margin is the relative difference up to which arms count as alike; 0 is none.
	Margin float64
}

// ABArm is an arm.
type ABArm struct {
	Name   string
	Model  string // NAME@VERSION, NAME@ALIAS or @ALIAS
	Weight float64
}

// SplitBy is a way to divide records among arms.
type SplitBy string

// The ways, by the names of the talk's forms: a hash of the key inside each instance, the partition in one group (pre-split), and a group
// for each arm with a merge behind (post-split).
const (
	SplitKey       SplitBy = "key"
	SplitPartition SplitBy = "partition"
	SplitGroups    SplitBy = "groups"
)

// ABTest is a way to compare arms.
type ABTest string

// The ways: a confidence sequence, which may be looked at at any time, and Welch's test, which holds once, at the end.
const (
	TestSequential ABTest = "sequential"
	TestFixed      ABTest = "fixed"
)

// Correction is a way to allow for several comparisons.
type Correction string

// The ways.
const (
	CorrectHolm      Correction = "holm"
	CorrectBenjamini Correction = "benjamini_hochberg"
	CorrectNone      Correction = "none"
)

// abFields are the keys of ab.
func abFields() []field {
	return []field{
		{key: "name", kind: kindText, def: "ab", check: checkName, doc: "The name of the experiment, which predictions carry: small letters and digits, with hyphens inside"},
		{
			key: "split", kind: kindText, def: string(SplitKey), allowed: []string{string(SplitKey), string(SplitPartition), string(SplitGroups)},
			doc: "What decides to which arm a record goes: key is a hash of its key, inside each instance; partition is its partition; groups is the hash too, with a consumer group for each arm and a merge behind them",
		},
		{key: "key", kind: kindText, defDoc: "the key of the message", example: "id", doc: "The enum or string field whose text is the key"},
		{key: "salt", kind: kindText, defDoc: "the name", doc: "What the key is hashed with: another one assigns all keys anew"},
		{key: "override", kind: kindText, defDoc: "none", example: "x-arm", doc: "The header of a record that may name its arm, for tests; such records do not count"},
		{
			key: "arms", kind: kindNamed, required: true, example: `{control: {model: "@champion", weight: 90}, challenger: {model: house-prices@2, weight: 10}}`,
			doc: "The arms by name, the control first: it is what the others are compared with",
			item: &field{kind: kindMapping, whole: true, doc: "An arm", fields: []field{
				{key: "model", kind: kindText, required: true, check: checkModelRef, example: "\"@champion\"", doc: "The model, approved: NAME@VERSION, or @champion"},
				{key: "weight", kind: kindNumber, def: "1", bounded: true, least: 0, most: 1e6, doc: "How much of the records the arm gets, beside the weights of the others: 90 and 10 are 90 % and 10 %"},
			}},
		},
		{key: "alpha", kind: kindShare, def: "5%", least: 1e-6, most: 0.4, doc: "The chance of a wrong verdict, on all metrics and arms together"},
		{
			key: "test", kind: kindText, def: string(TestSequential), allowed: []string{string(TestSequential), string(TestFixed)},
			doc: "How arms are compared: sequential holds at every look; fixed is Welch's test, which holds for one look at a time that was set before",
		},
		{
			key: "correction", kind: kindText, def: string(CorrectHolm), allowed: []string{string(CorrectHolm), string(CorrectBenjamini), string(CorrectNone)},
			doc: "How several metrics and arms are allowed for",
		},
		{
			key: "min_units", kind: kindInteger, def: "100", bounded: true, least: 2, most: math.MaxInt32,
			doc: "How many keys of an arm need an outcome before it is judged",
		},
		{
			key: "units", kind: kindInteger, def: "5000", bounded: true, least: 4, most: math.MaxInt32,
			doc: "How many keys, of all arms together, the experiment is planned for: where sequential intervals are the tightest, and when test: fixed has its one look; millrace ab plan computes it",
		},
		{
			key: "margin", kind: kindShare, def: "0", least: 0, most: 1, example: "1%",
			doc: "The relative difference up to which arms count as alike, so that an experiment can end with that; of the squared error it is one of the RMSE",
		},
	}
}

// checkModelRef accepts the names of versions of models.
func checkModelRef(s string) *fault {
	if s == "" || len(s) > 2*maxName || s[len(s)-1] == '@' {
		return &fault{"want a version of a model", `write NAME@NUMBER, NAME@champion or "@champion"`}
	}
	return nil
}

// lintAB makes the experiment.
func (d *decoder) lintAB(v value) {
	if v.node == nil || d.failed["ab"] {
		return
	}
	f := v.fields
	a := &AB{
		Name: f["name"].text, Split: SplitBy(f["split"].text), Key: f["key"].text, Override: f["override"].text, Alpha: f["alpha"].number,
		Test: ABTest(f["test"].text), Correction: Correction(f["correction"].text), MinUnits: int(f["min_units"].integer),
		Units: int(f["units"].integer), Margin: f["margin"].number,
	}
	a.Salt = cmp.Or(f["salt"].text, a.Name)
	arms, total := f["arms"], 0.0
	for i, name := range arms.names {
		of := arms.list[i].fields
		a.Arms = append(a.Arms, ABArm{Name: name, Model: of["model"].text, Weight: of["weight"].number})
		total += of["weight"].number
		if model.CheckName(name) != nil {
			d.reportKey(join("ab.arms", name), "ab.arms: want names of small letters and digits, with hyphens inside, not "+quote(name), "")
		}
	}
	switch n := len(a.Arms); {
	case arms.node == nil || d.failed["ab.arms"]:
	case n < 2 || n > assign.MaxArms:
		d.reportKey("ab.arms", fmt.Sprintf("ab.arms: want from 2 to %d arms", assign.MaxArms), `the control, such as control: {model: "@champion", weight: 90}, and one or more others`)
	case total == 0:
		d.reportKey("ab.arms", "ab.arms: no arm has a weight", "say how much of the records each one gets")
	}
	d.lintABKey(a)
	d.p.AB = a
}

// lintABKey wants a key that can be one.
func (d *decoder) lintABKey(a *AB) {
	if a.Key != "" && a.Split == SplitPartition {
		d.reportAt("ab.key", "ab.key: with split: partition no key is looked at", "leave it out")
		return
	}
	d.lintTextKey("ab.key", a.Key)
}
