package api

import (
	"math"
	"strings"
	"testing"

	"millrace.dev/internal/oip"
	"millrace.dev/record"
)

// TestInferInputsByName wants tensors that could be fields to be the inputs of the model where the request says so: a row of which
// nothing is known is none of a record then, and has a prediction.
func TestInferInputsByName(t *testing.T) {
	t.Parallel()
	schema, err := record.NewSchema(record.Field{Name: "living", Type: record.Numeric})
	if err != nil {
		t.Fatal(err)
	}
	s := &signature{
		schema: schema, types: []record.Type{record.Numeric}, members: [][]byte{[]byte(`"living":`)},
		inputs: []record.Column{{Name: "living", Type: record.Numeric}}, input: map[string]int{"living": 0},
	}
	living := oip.Tensor{Name: "living", Datatype: oip.FP64, Shape: []int64{1}, Floats: []float64{math.NaN()}}
	for name, c := range map[string]struct {
		parameters oip.Parameters
		frame      bool
	}{
		"not said": {nil, false}, "said": {oip.Parameters{oip.ParameterInputs: true}, true}, "said not to be": {oip.Parameters{oip.ParameterInputs: false}, false},
	} {
		q, err := s.question(&oip.InferRequest{Inputs: []oip.Tensor{living}, Parameters: c.parameters}, 0)
		if err != nil || (q.frame != nil) != c.frame || (q.records == nil) != c.frame {
			t.Errorf("%s: %+v, %v", name, q, err)
		}
	}
	other := living
	other.Name = "lot"
	if _, err := s.question(&oip.InferRequest{Inputs: []oip.Tensor{living, other}, Parameters: oip.Parameters{oip.ParameterInputs: true}}, 0); err == nil || !strings.HasPrefix(err.Error(), `input "lot" is no input of the model: `) {
		t.Errorf("a tensor that is none: %v", err)
	}
}
