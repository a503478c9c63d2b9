package api

import (
	"errors"
	"net/http"
	"strings"

	"millrace.dev/internal/oip"
	"millrace.dev/internal/serve"
)

// errOverride says that a model is what the registry has.
var errOverride = errors.New("a model is served as the registry has it: no other configuration and no files can be given")

// index lists the versions of the models.
func (a *API) index(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Ready bool `json:"ready"`
	}
	if err := optionalBody(r, &wanted); err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, a.entries(wanted.Ready))
}

// entries returns the index, of all versions or of those that can be asked for.
func (a *API) entries(ready bool) []oip.IndexEntry {
	all := []oip.IndexEntry{}
	for _, i := range a.models.Index() {
		if ready && !i.Ready {
			continue
		}
		e := oip.IndexEntry{Name: i.Name, Version: i.Version, State: oip.StateReady, Reason: i.Reason}
		if !i.Ready {
			e.State = oip.StateUnavailable
		}
		all = append(all, e)
	}
	return all
}

// load has a model be served.
func (a *API) load(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Parameters map[string]any `json:"parameters"`
	}
	if err := optionalBody(r, &body); err != nil {
		a.refuse(w, r, err)
		return
	}
	for name := range body.Parameters {
		if isOverride(name) {
			a.refuse(w, r, &refusal{http.StatusNotImplemented, errOverride})
			return
		}
	}
	name := r.PathValue("model")
	if err := a.models.Load(r.Context(), name); err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, struct {
		Name string `json:"name"`
		Load bool   `json:"load"`
	}{name, true})
}

// isOverride tells whether a parameter of a load replaces a part of the model.
func isOverride(parameter string) bool {
	return parameter == "config" || strings.HasPrefix(parameter, "file:")
}

// unload has a model not be served.
func (a *API) unload(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("model")
	if err := a.models.Unload(name); err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, struct {
		Name   string `json:"name"`
		Unload bool   `json:"unload"`
	}{name, true})
}

// statistics says what models have done.
func (a *API) statistics(w http.ResponseWriter, r *http.Request) {
	s, err := a.done(r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, s)
}

// done returns the statistics of a version of a model; "" is all models, or all versions that were asked for.
func (a *API) done(name, version string) (*oip.Statistics, error) {
	s := &oip.Statistics{Models: []oip.ModelStatistics{}}
	found := name == ""
	for _, m := range a.models.Stats() {
		if name != "" && m.Model != name {
			continue
		}
		found = true
		for i := range m.Versions {
			v := &m.Versions[i]
			if version == "" || version == v.Version || version == serve.Latest && v.Promoted {
				s.Models = append(s.Models, statisticsOf(v))
			}
		}
	}
	switch {
	case !found:
		return nil, serve.ErrUnknownModel
	case version != "" && len(s.Models) == 0:
		return nil, serve.ErrUnknownVersion
	}
	return s, nil
}

// statisticsOf returns what a version has done. Of requests that were not taken no time is known; one of which a row was refused was
// answered, and counts as a success.
func statisticsOf(v *serve.VersionStats) oip.ModelStatistics {
	duration := func(d *serve.Distribution) oip.Duration { return oip.Duration{Count: d.Count, Nanoseconds: d.Sum} }
	m := oip.ModelStatistics{
		Name: v.Model, Version: v.Version, Inferences: v.Rows - v.Problems, Executions: v.Batches,
		Requests: oip.InferDurations{
			Success: duration(&v.Request), Fail: oip.Duration{Count: v.Busy + v.Refused + v.Cancelled}, Queue: duration(&v.Queue),
			ComputeInput: duration(&v.Features), ComputeInfer: duration(&v.Scoring), ComputeOutput: duration(&v.Output),
		},
		Batches: []oip.BatchSize{},
	}
	if !v.Last.IsZero() {
		m.Last = uint64(v.Last.UnixMilli())
	}
	return m
}

// tritonTensor is an input or an output in Triton's configuration of a model.
type tritonTensor struct {
	Name     string  `json:"name"`
	Type     string  `json:"data_type"`
	Dims     []int64 `json:"dims"`
	Optional bool    `json:"optional,omitempty"`
}

// tritonConfig is what of Triton's configuration has a meaning here.
type tritonConfig struct {
	Name         string         `json:"name"`
	Platform     string         `json:"platform"`
	Backend      string         `json:"backend"`
	MaxBatchSize int            `json:"max_batch_size"` // 0: the dimensions of the tensors include that of the rows
	Input        []tritonTensor `json:"input"`
	Output       []tritonTensor `json:"output"`
}

// modelConfig describes a model as Triton's configuration would, for clients that ask for that.
func (a *API) modelConfig(w http.ResponseWriter, r *http.Request) {
	v, err := a.models.Open(r.Context(), r.PathValue("model"), r.PathValue("version"))
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	answerJSON(w, a.configOf(v))
}

func (a *API) configOf(v *serve.Version) *tritonConfig {
	s := a.signatures.of(v)
	inputs, outputs := s.metadata(v)
	c := &tritonConfig{Name: v.Name(), Platform: platform, Backend: platform, Input: []tritonTensor{}}
	for _, in := range inputs {
		c.Input = append(c.Input, tritonTensor{in.Name, tritonType(in.Datatype), in.Shape, s.optional(v, in.Name)})
	}
	for _, out := range outputs {
		c.Output = append(c.Output, tritonTensor{out.Name, tritonType(out.Datatype), out.Shape, false})
	}
	return c
}

// tritonType returns what Triton's configuration calls a datatype.
func tritonType(d oip.Datatype) string {
	if d == oip.Bytes {
		return "TYPE_STRING"
	}
	return "TYPE_" + string(d)
}
