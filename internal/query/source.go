package query

import (
	"fmt"
	"net/url"

	"millrace.dev/internal/task"
)

// source is a store that can be asked.
type source struct {
	spec       *task.StoreSpec
	sub        int
	partitions int // 0: it is not known yet
}

func (s *source) windows() bool { return s.spec.Lookup != nil && s.spec.Lookup.Windows }

// size returns how long the windows are, 0 if they differ.
func (s *source) size() int64 {
	if s.spec.Lookup == nil {
		return 0
	}
	return s.spec.Lookup.Size
}

func (s *source) kind() string {
	switch {
	case s.spec.Lookup == nil:
		return KindBytes
	case s.spec.Lookup.Windows:
		return KindWindows
	default:
		return KindTable
	}
}

// parse returns the bytes of a key that a parameter has as text; never nil.
func (s *source) parse(v url.Values, name string) ([]byte, error) {
	text := v.Get(name)
	if len(text) > maxKey {
		return nil, fmt.Errorf("%s: a key has at most %d bytes", name, maxKey)
	}
	if s.spec.Lookup == nil {
		return nil, fmt.Errorf("%s: the type of the keys is not known: give the bytes of one in %s", name, paramKeyBytes)
	}
	b, err := s.spec.Lookup.ParseKey([]byte{}, text)
	if err != nil {
		return nil, fmt.Errorf("%s: %.80q is no key of the store: %w", name, text, err)
	}
	return b, nil
}

// describe returns what is told of the store.
func (s *source) describe(p *task.Program) Store {
	d := Store{Name: s.spec.Name, Kind: s.kind(), Operator: p.Nodes[s.spec.Node].Name, Partitions: s.partitions, WindowMillis: s.size()}
	if s.spec.Logged {
		d.Changelog = p.Changelog(s.spec.Name)
	}
	return d
}
