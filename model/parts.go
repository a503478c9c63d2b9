package model

import (
	"bytes"
	"errors"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// The names of the sections.
const (
	partManifest   = "manifest"
	partEvaluation = "evaluation"
	partForest     = "forest"
	partGolden     = "golden"
	partHistory    = "history"
	partInputs     = "inputs"
	partLineage    = "lineage"
	partMetrics    = "metrics"
	partPlan       = "plan"
	partProfile    = "profile"
	partSchema     = "schema"
)

// part ties a section to its place in a Bundle.
type part struct {
	name  string
	limit int // bytes
	json  bool
	// optional is a section that says more of a model and changes no prediction: a bundle of before has none, and a
	// millrace of before keeps it as it is. There is one if encode returns bytes.
	optional bool
	encode   func(*Bundle) ([]byte, error)
	decode   func(*Bundle, []byte) error
}

// parts returns the known sections in the order of the file.
func parts(functions ...feature.Function) []part {
	const small, large = 4 << 20, 64 << 20
	return []part{
		jsonPart(partManifest, 64<<10, func(b *Bundle) *Manifest { return &b.Manifest }),
		optionalPart(partEvaluation, 64<<10, func(b *Bundle) **Evaluation { return &b.Evaluation }),
		{
			name: partForest, limit: DefaultMaxBytes,
			encode: func(b *Bundle) ([]byte, error) { return b.Forest.MarshalBinary() },
			decode: func(b *Bundle, data []byte) (err error) {
				b.Forest, err = gbm.ReadForest(data)
				return err
			},
		},
		{
			name: partGolden, limit: large, json: true,
			encode: func(b *Bundle) ([]byte, error) { return encodeJSON(b.Golden) },
			decode: func(b *Bundle, data []byte) (err error) {
				b.Golden, err = decodeList[GoldenRow](data, MaxGolden)
				return err
			},
		},
		jsonPart(partHistory, small, func(b *Bundle) *History { return &b.History }),
		jsonPart(partInputs, small, func(b *Bundle) *[]Input { return &b.Inputs }),
		jsonPart(partLineage, small, func(b *Bundle) *Lineage { return &b.Lineage }),
		jsonPart(partMetrics, small, func(b *Bundle) *Metrics { return &b.Metrics }),
		{
			name: partPlan, limit: large,
			encode: func(b *Bundle) ([]byte, error) { return b.Plan.MarshalBinary() },
			decode: func(b *Bundle, data []byte) (err error) {
				b.Plan, err = feature.ReadPlan(bytes.Clone(data), functions...)
				return err
			},
		},
		jsonPart(partProfile, large, func(b *Bundle) **profile.Profile { return &b.Profile }),
		{
			name: partSchema, limit: small, json: true,
			encode: func(b *Bundle) ([]byte, error) { return encodeJSON(b.Schema) },
			decode: func(b *Bundle, data []byte) error {
				b.Schema = &record.Schema{}
				return decodeJSON(data, b.Schema)
			},
		},
	}
}

func jsonPart[T any](name string, limit int, field func(*Bundle) *T) part {
	return part{
		name: name, limit: limit, json: true,
		encode: func(b *Bundle) ([]byte, error) { return encodeJSON(field(b)) },
		decode: func(b *Bundle, data []byte) error { return decodeJSON(data, field(b)) },
	}
}

// optionalPart is a section for a part of a bundle that can be nil.
func optionalPart[T any](name string, limit int, field func(*Bundle) **T) part {
	return part{
		name: name, limit: limit, json: true, optional: true,
		encode: func(b *Bundle) ([]byte, error) {
			if *field(b) == nil {
				return nil, nil
			}
			return encodeJSON(*field(b))
		},
		decode: func(b *Bundle, data []byte) error {
			*field(b) = new(T)
			return decodeJSON(data, *field(b))
		},
	}
}

// read puts the content of a section into b. JSON has many texts for one value: what is not the text that
// encode makes is refused, so that what is read is all that is there.
func (p *part) read(b *Bundle, data []byte) error {
	if err := p.decode(b, data); err != nil || !p.json {
		return err
	}
	back, err := p.encode(b.normal())
	if err != nil {
		return err
	}
	if !bytes.Equal(back, data) {
		return errors.New("its JSON is not in the form that a bundle has")
	}
	return nil
}
