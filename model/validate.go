package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"millrace.dev/profile"
	"millrace.dev/record"
)

// validate wants a complete bundle whose parts fit one another.
func (b *Bundle) validate() error {
	if b.Schema == nil || b.Plan == nil || b.Forest == nil || b.Profile == nil {
		return errors.New("a bundle needs a schema, a plan, a forest and a profile")
	}
	if err := b.Manifest.validate(); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if err := b.fit(); err != nil {
		return err
	}
	if err := b.Lineage.validate(); err != nil {
		return fmt.Errorf("lineage: %w", err)
	}
	if err := b.fitProfile(); err != nil {
		return err
	}
	if err := b.History.validate(); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if b.Evaluation != nil {
		if err := b.Evaluation.validate(b.Metrics.Test.Rows); err != nil {
			return fmt.Errorf("evaluation: %w", err)
		}
	}
	if len(b.Golden) > MaxGolden {
		return fmt.Errorf("%d golden rows, the limit is %d", len(b.Golden), MaxGolden)
	}
	inputs := b.Plan.Inputs()
	for i := range b.Golden {
		if err := b.Golden[i].check(inputs, b.Plan); err != nil {
			return fmt.Errorf("golden row %d: %w", i, err)
		}
	}
	return nil
}

func (m *Manifest) validate() error {
	if err := CheckName(m.Name); err != nil {
		return err
	}
	if m.Label == "" || m.SinkField == "" || m.Millrace == "" {
		return errors.New("the label, the sink field and the version of millrace must not be empty")
	}
	if y := m.Created.Year(); y < 1 || y > 9999 {
		return fmt.Errorf("created in the year %d", y)
	}
	return checkTexts(m.Label, m.LabelUnit, m.EventTime, m.SinkField, m.Millrace)
}

// fit wants a fitted plan for the schema, and a forest and a list of inputs for the plan.
func (b *Bundle) fit() error {
	if !b.Plan.Fitted() {
		return errors.New("the plan is not fitted")
	}
	mine, err := encodeJSON(b.Schema)
	if err != nil {
		return err
	}
	its, err := encodeJSON(b.Plan.Schema())
	if err != nil {
		return err
	}
	if !bytes.Equal(mine, its) {
		return errors.New("the plan is for another schema")
	}
	if f := b.Manifest.EventTime; f != "" {
		if i, ok := b.Schema.Index(f); !ok || b.Schema.Field(i).Type != record.Time {
			return fmt.Errorf("the event time %q is no time field of the schema", f)
		}
	}
	inputs := b.Plan.Inputs()
	if err := b.Forest.Match(inputs); err != nil {
		return fmt.Errorf("the forest is not one for the plan: %w", err)
	}
	if len(inputs) != len(b.Inputs) {
		return fmt.Errorf("the plan has %d inputs, %d are described", len(inputs), len(b.Inputs))
	}
	for i := range inputs {
		if err := b.Inputs[i].fit(&inputs[i]); err != nil {
			return fmt.Errorf("input %q: %w", inputs[i].Name, err)
		}
	}
	return nil
}

// fitProfile wants the profile to be of the fields and the inputs that there are.
func (b *Bundle) fitProfile() error {
	if err := b.Profile.Validate(); err != nil {
		return err
	}
	layout := profile.NewLayout(b.Schema, b.Plan.Inputs(), b.Manifest.Label)
	if _, err := profile.NewCounter(b.Profile, layout); err != nil {
		return err
	}
	return nil
}

func (in *Input) fit(c *record.Column) error {
	if in.Name != c.Name || in.Type != c.Type || in.Levels != len(c.Levels) {
		return fmt.Errorf("described as %q, %v, %d levels", in.Name, in.Type, in.Levels)
	}
	if !(in.Importance >= 0) {
		return fmt.Errorf("its importance is %v", in.Importance)
	}
	return nil
}

func (l *Lineage) validate() error {
	if l.DataName == "" || !validDigest(l.DataDigest) {
		return errors.New(`the data needs a name and a digest: "sha256:" and 64 hexadecimal digits`)
	}
	if l.DataTo.Before(l.DataFrom) {
		return errors.New("the data interval ends before it begins")
	}
	texts := []string{l.DataName, l.Where, l.CodeVersion, l.RunID}
	if s := l.Labels; s != nil {
		if s.DataName == "" || s.Field == "" || !validDigest(s.DataDigest) {
			return errors.New("the source of the labels needs a name, a digest and a field")
		}
		texts = append(texts, s.DataName, s.Key, s.Field)
	}
	for _, t := range l.Tables {
		if t.Name == "" || t.DataName == "" || !validDigest(t.DataDigest) {
			return errors.New("the source of a table needs a name, the name of its data and a digest")
		}
		texts = append(texts, t.Name, t.DataName)
	}
	if m := l.Imported; m != nil {
		if m.Format == "" || m.Name == "" || !validDigest(m.Digest) {
			return errors.New("the file that the trees came from needs a format, a name and a digest")
		}
		texts = append(texts, m.Format, m.Version, m.Objective, m.Name)
	}
	left := l.Rows.Excluded
	for _, r := range l.Rows.Reasons {
		left -= r.Rows
		texts = append(texts, r.Reason)
		if r.Rows < 1 || r.Reason == "" {
			return errors.New("an exclusion without a reason or without rows")
		}
	}
	if left != 0 {
		return fmt.Errorf("the reasons for %d excluded rows add up to %d", l.Rows.Excluded, l.Rows.Excluded-left)
	}
	r := &l.Rows
	if min(r.Excluded, r.Train, r.Validation, r.Test) < 0 || r.Excluded+r.Train+r.Validation+r.Test != r.Read {
		return fmt.Errorf("%d rows read are not %d excluded, %d train, %d validation and %d test", r.Read, r.Excluded, r.Train, r.Validation, r.Test)
	}
	if !json.Valid(l.Params) || !bytes.HasPrefix(l.Params, []byte("{")) {
		return errors.New("the parameters are not a JSON object")
	}
	for _, f := range l.Features {
		texts = append(texts, f.Name, f.Expr)
	}
	return checkTexts(append(texts, string(l.Params))...)
}

func validDigest(s string) bool {
	hex, ok := strings.CutPrefix(s, "sha256:")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
}

func (h *History) validate() error {
	trees := -1 // round 0 is the state before the first tree
	for _, r := range h.Rounds {
		if r.Trees <= trees {
			return errors.New("the rounds are not in order")
		}
		if math.IsInf(r.Loss, 0) || math.IsInf(r.RMSE, 0) || math.IsInf(r.MAE, 0) {
			return fmt.Errorf("an infinite error after %d trees", r.Trees)
		}
		trees = r.Trees
	}
	if h.Best < 0 {
		return fmt.Errorf("%d trees are the best", h.Best)
	}
	return nil
}

// checkTexts wants UTF-8: JSON has no other texts.
func checkTexts(texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("the text %.80q is not UTF-8", s)
		}
	}
	return nil
}
