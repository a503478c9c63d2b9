package app

import (
	"context"
	"slices"
	"sync"

	"millrace.dev/record"
)

// spare are scorers that wait for answers of another server, as many as there are batches under way. It is safe for concurrent use.
type spare struct {
	mu   sync.Mutex
	list []*scorer
}

// take returns a scorer with an empty batch.
func (v *served) take(s *scorers) (*scorer, error) {
	v.spare.mu.Lock()
	if n := len(v.spare.list); n > 0 {
		w := v.spare.list[n-1]
		v.spare.list = v.spare.list[:n-1]
		v.spare.mu.Unlock()
		return w, nil
	}
	v.spare.mu.Unlock()
	w, err := v.hire()
	if err != nil {
		return nil, err
	}
	return s.newScorer(w), nil
}

func (v *served) giveBack(w *scorer) {
	w.batch.Reset() // let go of the records
	w.rows.release()
	v.spare.mu.Lock()
	defer v.spare.mu.Unlock()
	v.spare.list = append(v.spare.list, w)
}

// ask has another server predict a part, with the inputs that are computed here, and what the pipeline file says become of the records
// where it does not.
func (j *job[K, V]) ask(ctx context.Context, p *part) error {
	w, err := p.take(j.scorers)
	if err != nil {
		return err
	}
	defer p.giveBack(w)
	var control *scorer
	if p.arm != nil && p.arm.control != nil {
		if control, err = p.arm.control.take(j.scorers); err != nil {
			return err
		}
		defer p.arm.control.giveBack(control)
	}
	failure := error(nil)
	own := j.time(func() {
		j.prepare(p, w, p.sampler)
		failure = p.remote.score(ctx, w)
	})
	if ctx.Err() != nil { // nobody wants the result any more
		return ctx.Err()
	}
	if failure != nil && j.scorers.fallback != nil {
		return j.fallBack(ctx, p, remoteClass(failure))
	}
	if control != nil {
		other := j.time(func() {
			j.prepare(p, control, nil)
			if err := p.arm.control.remote.score(ctx, control); err != nil {
				p.arm.control.remote.refuse(control.batch, err)
				control.worker.Take(control.batch, nil, nil)
			}
			control.worker.Encode(control.batch)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.arm.counts.timed(own, other, p.len())
	}
	if failure != nil {
		p.remote.refuse(w.batch, failure)
		w.worker.Take(w.batch, nil, nil)
	}
	w.worker.Encode(w.batch)
	j.results(p, w, control)
	return nil
}

// fallBack predicts a part with the model of this process that stands in for that of the server, which has failed in a way of class.
func (j *job[K, V]) fallBack(ctx context.Context, p *part, class string) error {
	instead := *p
	instead.served = j.scorers.fallback
	w, err := take(ctx, instead.free)
	if err != nil {
		return err
	}
	defer giveBack(w, instead.free)
	j.compute(&instead, w, nil)
	w.name(append(slices.Clone(w.worker.Headers()), record.Header{Key: headerFallback, Value: []byte(class)}))
	j.results(&instead, w, nil)
	return nil
}
