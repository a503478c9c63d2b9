package feature

import (
	"fmt"

	"millrace.dev/record"
)

// Predicate is a condition on the columns of a record. It is for one goroutine at a time.
type Predicate struct {
	m   *machine
	dst []bool
}

// CompilePredicate compiles a condition on the columns of s. The error joins an [*Error] for every fault.
func CompilePredicate(s *record.Schema, expr string) (*Predicate, error) {
	c := newChecker(s)
	r := c.expression("", expr)
	if r.ok() && r.kind != kindBool {
		c.errs = append(c.errs, &Error{Length: len(expr), Msg: fmt.Sprintf("the condition is a %s, not a bool", r.kind), Hint: "compare it with something"})
	}
	if r.ok() && c.build.waits(r.id) {
		c.errs = append(c.errs, &Error{Length: len(expr), Msg: "a condition on rows cannot have a function that learns from the training rows", Hint: "it says which rows these are"})
	}
	if len(c.errs) > 0 {
		c.sortErrors()
		return nil, join(c.errs)
	}
	p, err := c.build.program([]int32{r.id}, nil, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	l, err := newLayout(s, p, c.build.patterns)
	if err != nil {
		return nil, fmt.Errorf("feature: %w", err)
	}
	return &Predicate{m: newMachine(l, tile)}, nil
}

// Eval sets dst[i] to whether the condition holds for row i of b: false where it is missing. dst has at least as
// many elements as b has rows. What it says of a rejected row means nothing.
func (p *Predicate) Eval(b *record.Batch, dst []bool) {
	p.dst = dst[:b.Len()]
	p.m.run(b, Enrichment{}, p)
	p.dst = nil
}

// The sink of the machine: one result, a bool.
func (p *Predicate) numbers(int, int, []float64) {}
func (p *Predicate) texts(int, int, []text)      {}
func (p *Predicate) times(int, int, []int64)     {}

func (p *Predicate) bools(_, offset int, v []uint8) {
	dst := p.dst[offset : offset+len(v)]
	for i, x := range v {
		dst[i] = x == yes
	}
}
