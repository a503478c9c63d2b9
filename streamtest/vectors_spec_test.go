package streamtest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// spec is the topology of a vector. Which fields a spec has depends on its op.
type spec struct {
	Op string `json:"op"`
	// Of is what the operator is applied to: one, or for merge several.
	Of      operands `json:"of"`
	Left    *spec    `json:"left"`
	Right   *spec    `json:"right"`
	Sinks   sinks    `json:"sinks"`
	Groups  []group  `json:"groups"`
	Streams []*spec  `json:"streams"`

	Topic   string `json:"topic"`
	To      string `json:"to"`
	Text    string `json:"text"`
	History *int64 `json:"versioned_history_ms"`

	Fn          string   `json:"fn"`
	KeyFn       string   `json:"key_fn"`
	Predicate   string   `json:"predicate"`
	Branches    []branch `json:"branches"`
	Default     *string  `json:"default"`
	Joiner      string   `json:"joiner"`
	KeySelector string   `json:"key_selector"`
	ForeignKey  string   `json:"foreign_key"`

	Init   *value `json:"init"`
	Add    string `json:"add"`
	Remove string `json:"remove"`
	Merge  string `json:"merge"`
	Reduce string `json:"reduce"`

	Window         string `json:"window"`
	Size           int64  `json:"size_ms"`
	Advance        int64  `json:"advance_ms"`
	TimeDifference int64  `json:"time_difference_ms"`
	Gap            int64  `json:"gap_ms"`
	Grace          *int64 `json:"grace_ms"`
	Emit           string `json:"emit"`

	Type          string `json:"type"`
	Before        int64  `json:"before_ms"`
	After         int64  `json:"after_ms"`
	EmitUnmatched string `json:"emit_unmatched_when"`

	Rule *rule `json:"rule"`

	// Materialized and Cached say how Kafka Streams held the state; every update is flushed, so they change nothing.
	Materialized *bool `json:"materialized"`
	Cached       *bool `json:"cached"`

	raw string // the JSON

	onCommit bool // updates wait for the commit
}

func (s *spec) UnmarshalJSON(b []byte) error {
	type fields spec
	if err := strict(b, (*fields)(s)); err != nil {
		return err
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, b)
	s.raw = compact.String()
	return err
}

type branch struct {
	Predicate string  `json:"predicate"`
	To        *string `json:"to"` // null: these records are not written
}

type group struct {
	Of  *spec  `json:"of"`
	Add string `json:"add"`
}

type rule struct {
	Until      string `json:"until"`
	Limit      *int64 `json:"limit_ms"`
	Grace      *int64 `json:"grace_ms"`
	MaxRecords *int64 `json:"max_records"`
	MaxBytes   *int64 `json:"max_bytes"`
	WhenFull   string `json:"when_full"`
}

func (r *rule) check() error {
	switch {
	case r == nil:
		return errors.New("no rule")
	case r.Until != "window_close" && r.Until != "time_limit":
		return fmt.Errorf("rule until %q", r.Until)
	case r.Until == "time_limit" && r.Limit == nil:
		return errors.New("a time limit without limit_ms")
	case !slices.Contains([]string{"", "emit_early", "shutdown"}, r.WhenFull):
		return fmt.Errorf("rule when_full %q", r.WhenFull)
	}
	return nil
}

// operands are one spec or a list of them.
type operands []*spec

func (o *operands) UnmarshalJSON(b []byte) error {
	if bytes.HasPrefix(b, []byte("[")) {
		return strict(b, (*[]*spec)(o))
	}
	*o = operands{new(spec)}
	return strict(b, (*o)[0])
}

// sinks are the topics that are written, by name.
type sinks []sink

type sink struct {
	topic string
	of    *spec
}

func (s *sinks) UnmarshalJSON(b []byte) error {
	var m map[string]*spec
	if err := strict(b, &m); err != nil {
		return err
	}
	for topic, of := range m {
		*s = append(*s, sink{topic, of})
	}
	slices.SortFunc(*s, func(a, b sink) int { return strings.Compare(a.topic, b.topic) })
	return nil
}

// strict decodes JSON all of whose fields are known: a case must not pass because an option was overlooked.
func strict(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// inputs returns the specs below s.
func (s *spec) inputs() []*spec {
	list := slices.Concat(s.Of, s.Streams)
	for _, g := range s.Groups {
		list = append(list, g.Of)
	}
	for _, k := range s.Sinks {
		list = append(list, k.of)
	}
	for _, side := range []*spec{s.Left, s.Right} {
		if side != nil {
			list = append(list, side)
		}
	}
	return list
}

// seesNulls tells whether Kafka Streams calls a function of the operator with null values.
func (s *spec) seesNulls() bool {
	switch s.Op {
	case "filter", "filter_not", "map", "map_values", "flat_map", "flat_map_values", "select_key", "peek", "split", "branch":
		return true
	case "windowed_aggregate":
		return s.Init != nil
	}
	return false
}

// walk calls f with s and all specs below.
func (s *spec) walk(f func(*spec)) {
	f(s)
	for _, in := range s.inputs() {
		in.walk(f)
	}
}

// testCase is a vector.
type testCase struct {
	Name     string          `json:"case"`
	Family   string          `json:"family"`
	Topology string          `json:"topology"`
	Spec     json.RawMessage `json:"spec"`
	Inputs   []input         `json:"inputs"`
	Expect   []result        `json:"expect"`
	Dropped  *float64        `json:"dropped"`
	Config   map[string]any  `json:"config"`
	Notes    []string        `json:"notes"`
	Replay   string          `json:"replay"`
}

// input is a record to be processed, or a move of the clock.
type input struct {
	Topic       string  `json:"topic"`
	Key         value   `json:"key"`
	Value       payload `json:"value"`
	Timestamp   int64   `json:"ts"`
	Headers     headers `json:"headers"`
	AdvanceWall *int64  `json:"advance_wall_ms"`
}

// result is a record that came out, because of the input of that number.
type result struct {
	Input     int     `json:"i"`
	To        string  `json:"to"`
	Key       value   `json:"key"`
	Value     payload `json:"value"`
	Timestamp int64   `json:"ts"`
}

// payload is the value of a record, or the two sides of an update of a table. Updates do not leave the public API,
// so that of them the new side is compared.
type payload struct {
	value
	update bool
	old    value
}

func (p *payload) UnmarshalJSON(b []byte) error {
	var u struct{ New, Old *value }
	if bytes.HasPrefix(b, []byte(`{`)) && strict(b, &u) == nil {
		*p = payload{update: true}
		if u.New != nil {
			p.value = *u.New
		}
		if u.Old != nil {
			p.old = *u.Old
		}
		return nil
	}
	return p.value.UnmarshalJSON(b)
}

// headers are an object, or a list of pairs or of objects with key and value.
type headers [][2]string

func (h *headers) UnmarshalJSON(b []byte) error {
	var object map[string]string
	if strict(b, &object) == nil {
		for k, v := range object {
			*h = append(*h, [2]string{k, v})
		}
		slices.SortFunc(*h, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
		return nil
	}
	var list []struct{ Key, Value string }
	if strict(b, &list) == nil {
		for _, x := range list {
			*h = append(*h, [2]string{x.Key, x.Value})
		}
		return nil
	}
	return strict(b, (*[][2]string)(h))
}
