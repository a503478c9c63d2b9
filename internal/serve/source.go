package serve

import (
	"context"
	"fmt"
	"slices"

	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
)

// Source is where the versions of a model come from: a registry, as a pipeline file wants it to be read. It is safe for concurrent use.
type Source interface {
	// State returns which versions there are now. An error means that this cannot be known now: what is served stays.
	State(ctx context.Context) (State, error)
	// Load returns an approved version, ready to predict here: its golden rows are reproduced. An error says why it cannot be served.
	Load(ctx context.Context, number int) (*Loaded, error)
}

// State is what a registry says of a model.
type State struct {
	// Promoted is the number of the version that requests get which name none; 0 if there is none.
	Promoted int
	// Approved are the numbers of the versions that may be served, rising.
	Approved []int
}

// allows tells whether a version may be served.
func (s *State) allows(number int) bool {
	_, ok := slices.BinarySearch(s.Approved, number)
	return ok
}

// Loaded is a version of a model that is ready to predict.
type Loaded struct {
	Digest string // of the bundle
	Path   *pipeline.Path
	// Tables has the rows of the tables of the plan, in its order; nil for one without rows.
	Tables []table.Rows
}

// ref names a version as people do: house-prices@3.
func ref(name string, number int) string { return fmt.Sprintf("%s@%d", name, number) }
