package batch

import (
	"context"
	"fmt"

	"millrace.dev/gbm"
	"millrace.dev/internal/importer"
	"millrace.dev/internal/source"
	"millrace.dev/model"
	"millrace.dev/record"
)

// ImportModel makes a bundle of trees that another system has grown. It does what [TrainModel] does, over the same data, but for
// the boosting: it fits the plan on the training rows, computes the inputs and the profile of all rows, and measures the
// trees on the three parts. Enum inputs get the levels that the trees know, and not those of the training rows, so that the
// trees predict what they predict elsewhere. Which rows they were grown on is not known: any part may hold some.
//
// An error of the trees that do not fit the inputs is a [*source.DataError] where the data is at fault, and says so where the
// pipeline file is.
func ImportModel(ctx context.Context, o TrainOptions, m *importer.Model, from model.Imported) (*model.Bundle, error) {
	t := &trainer{TrainOptions: o, foreign: m, imported: &from}
	if err := t.prepare(); err != nil {
		return nil, err
	}
	if err := t.open(ctx); err != nil {
		return nil, err
	}
	digest, err := t.fit(ctx)
	if err != nil {
		return nil, err
	}
	levels, err := m.Levels(t.plan.Inputs())
	if err != nil {
		return nil, err
	}
	if t.plan, err = t.plan.WithLevels(levels); err != nil {
		return nil, err
	}
	forest, err := m.Forest(t.plan.Inputs())
	if err != nil {
		return nil, err
	}
	sets, err := t.load(ctx, digest)
	if err != nil {
		return nil, err
	}
	if o.Found != nil {
		o.Found(t.found)
	}
	return t.seal(digest, sets, forest, &gbm.History{Best: forest.Trees()})
}

// checkLevels refuses trees that know none of the levels that the data has of an enum: the same levels are then most likely
// written in another way, as 3.0 and 3, and the trees would take all of them for missing.
func (t *trainer) checkLevels(workers []*loading) error {
	if t.foreign == nil {
		return nil
	}
	for i, c := range t.plan.Inputs() {
		if c.Type != record.Enum || len(c.Levels) == 0 {
			continue
		}
		var missing, unseen uint64
		for _, w := range workers {
			n := w.evaluator.Counts()[i]
			missing, unseen = missing+n.Missing, unseen+n.Unseen
		}
		if unseen > 0 && missing+unseen >= uint64(t.read) {
			return &source.DataError{
				Path: t.Data, Err: fmt.Errorf("the model knows none of the levels that the input %q has in it", c.Name),
				Hint: fmt.Sprintf("see how the model was given them: it has levels such as %.40q", c.Levels[0]),
			}
		}
	}
	return nil
}
