package app

import (
	"slices"

	"millrace.dev/feature"
	"millrace.dev/internal/config"
	"millrace.dev/stream"
)

// Plan is what `run` does with a pipeline file.
type Plan struct {
	Pipeline *config.Pipeline
	Topology *stream.Description // the places of declarations, which are lines of millrace, are left out
}

// Plan returns what [App.Run] does with a pipeline file. It needs neither a broker nor a model.
func (a *App) Plan(file string, set []string) (*Plan, error) {
	p, err := a.Load(file, set)
	if err != nil {
		return nil, err
	}
	features, err := feature.Compile(p.Declaration())
	if err != nil {
		return nil, err
	}
	d, err := Topology(p, features, nil).Description()
	if err != nil {
		return nil, err
	}
	for i := range d.Nodes {
		d.Nodes[i].At = ""
	}
	if d.Stores == nil {
		d.Stores = []stream.StoreInfo{} // in JSON an empty list
	}
	return &Plan{Pipeline: p, Topology: d}, nil
}

// Topics returns the names of the topics of some kinds, sorted.
func (p *Plan) Topics(kinds ...stream.TopicKind) []string {
	var names []string
	for _, t := range p.Topology.Topics {
		if slices.Contains(kinds, t.Kind) {
			names = append(names, t.Name)
		}
	}
	return names
}
