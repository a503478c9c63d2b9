package api

import (
	"sync"

	"millrace.dev/internal/oip"
	"millrace.dev/internal/serve"
	"millrace.dev/record"
)

// recordTensor is the name of the tensor whose elements are whole records.
const recordTensor = "record"

// signature is what requests with tensors ask of a bundle again and again. It does not change, and keeps nothing of the bundle
// but its schema and the columns of its inputs.
type signature struct {
	schema  *record.Schema
	types   []record.Type   // of its fields
	members [][]byte        // by field: what a JSON object has before its value
	empty   map[string]bool // the fields of which "" is a level
	fields  []int           // that the model needs, in the order of the schema
	inputs  []record.Column // of the forest
	input   map[string]int  // their positions
	feature map[string]bool // the inputs that are no fields
	codes   []map[string]int32
}

func newSignature(v *serve.Version) *signature {
	b := v.Bundle()
	s := &signature{schema: b.Schema, empty: map[string]bool{}, inputs: b.Forest.Inputs(), input: map[string]int{}, feature: map[string]bool{}}
	for i := range s.schema.Len() {
		f := s.schema.Field(i)
		s.types = append(s.types, f.Type)
		s.members = append(s.members, append(appendJSON(nil, f.Name), ':'))
	}
	for _, name := range b.Plan.Used() {
		if i, ok := s.schema.Index(name); ok {
			s.fields = append(s.fields, i)
		}
	}
	for name, levels := range b.Plan.Levels() {
		for _, level := range levels {
			if level == "" {
				s.empty[name] = true
			}
		}
	}
	s.codes = make([]map[string]int32, len(s.inputs))
	for i, c := range s.inputs {
		s.input[c.Name] = i
		if _, ok := s.schema.Index(c.Name); !ok {
			s.feature[c.Name] = true
		}
		if c.Type == record.Enum {
			s.codes[i] = make(map[string]int32, len(c.Levels))
			for code, level := range c.Levels {
				s.codes[i][level] = int32(code)
			}
		}
	}
	return s
}

// metadata describes what a version takes and gives: the fields that it needs, or where it uses windows the inputs of the
// model, since no record brings these. -1 is the number of rows.
func (s *signature) metadata(v *serve.Version) (inputs, outputs []oip.TensorMetadata) {
	inputs = []oip.TensorMetadata{}
	add := func(name string, t record.Type) {
		datatype := oip.Bytes
		if t == record.Numeric {
			datatype = oip.FP64
		}
		inputs = append(inputs, oip.TensorMetadata{Name: name, Datatype: datatype, Shape: []int64{-1}})
	}
	if v.Windows() {
		for _, c := range s.inputs {
			add(c.Name, c.Type)
		}
	} else {
		for _, i := range s.fields {
			add(s.schema.Field(i).Name, s.types[i])
		}
	}
	return inputs, []oip.TensorMetadata{{Name: v.Field(), Datatype: oip.FP64, Shape: []int64{-1}}}
}

// optional tells whether requests need not bring a tensor that metadata lists.
func (s *signature) optional(v *serve.Version, name string) bool {
	i, ok := s.schema.Index(name)
	return ok && !v.Windows() && !s.schema.Field(i).Required
}

// signatures keeps those of versions. It is safe for concurrent use.
type signatures struct {
	mu  sync.RWMutex
	all map[signed]*signature
}

// signed is what has a signature: a bundle, by the name of the model that it is. It does not keep the bundle in memory.
type signed struct{ model, digest string }

// mostSignatures is how many are kept: more than there are versions in memory, of all models.
const mostSignatures = 256

// of returns the signature of a version.
func (s *signatures) of(v *serve.Version) *signature {
	key := signed{v.Name(), v.Digest()}
	s.mu.RLock()
	known := s.all[key]
	s.mu.RUnlock()
	if known != nil {
		return known
	}
	made := newSignature(v)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil || len(s.all) >= mostSignatures {
		s.all = map[signed]*signature{}
	}
	s.all[key] = made
	return made
}
