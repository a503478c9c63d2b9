package serve

import (
	"time"

	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// desk is where a worker predicts with a version: the memory for that. It is for one goroutine at a time.
type desk struct {
	version *Version
	worker  *pipeline.Worker
	now     func() time.Time
	batch   *record.Batch
	frame   record.Frame // of rows of inputs
	scores  []float64
}

func newDesk(v *Version, w *pipeline.Worker) *desk {
	return &desk{version: v, worker: w, now: v.queue.options.Now, batch: w.NewBatch(), frame: record.Frame{Columns: v.Bundle().Forest.Inputs()}}
}

// errNoOutput is the problem of a record of which the path says nothing, so that no record is without a result.
func errNoOutput() *record.Problem {
	return &record.Problem{Stage: record.StageEncode, Class: "no_output", Reason: "the data path gave no result for this record"}
}

// run predicts a batch, and writes the rows of its calls.
func (d *desk) run(b *batch) {
	if b.lane.kind == kindInputs {
		d.score(b)
		return
	}
	began := d.now()
	for _, p := range b.parts {
		for i := p.from; i < p.to; i++ {
			d.batch.Append(p.call.records[i])
		}
	}
	w := d.worker
	w.Decode(d.batch)
	w.Prepare(d.batch, pipeline.Enrichment{Rows: d.version.rows})
	prepared := d.now()
	w.Score(d.batch)
	scored := d.now()
	w.Encode(d.batch)
	d.rows(b)
	d.batch.Reset() // let go of the records
	b.times.features, b.times.scoring, b.times.output = prepared.Sub(began), scored.Sub(prepared), d.now().Sub(scored)
}

// rows gives the rows of a batch what the worker has made of them.
func (d *desk) rows(b *batch) {
	first := 0
	marks := d.worker.Marks()
	for _, p := range b.parts {
		n := p.to - p.from
		size := 0
		for k := first; k < first+n; k++ {
			size += len(d.worker.Output(k))
		}
		memory := make([]byte, 0, size) // the worker uses its own again
		for i := range n {
			k, row := first+i, &p.call.rows[p.from+i]
			for len(marks) > 0 && marks[0].Row < k {
				marks = marks[1:]
			}
			out := d.worker.Output(k)
			switch problem := d.batch.Problem(k); {
			case problem != nil:
				own := *problem
				row.Problem = &own
				continue
			case out == nil:
				row.Problem = errNoOutput()
				continue
			}
			if len(marks) > 0 && marks[0].Row == k {
				row.Checks = marks[0].Rules
			}
			from := len(memory)
			memory = append(memory, out...)
			row.Output, row.Prediction = memory[from:len(memory):len(memory)], d.worker.Prediction(k)
			if b.lane.kind == kindExplained && d.version.apart != nil {
				a := d.version.apart.Attribute(d.worker.Frame(), k, row.Prediction)
				row.Explanation = &a
			}
		}
		first += n
	}
}

// score predicts a batch of rows of inputs.
func (d *desk) score(b *batch) {
	began := d.now()
	d.frame.Rows = 0
	for i := range d.frame.Columns {
		c := &d.frame.Columns[i]
		c.Numbers, c.Codes = c.Numbers[:0], c.Codes[:0]
		for _, p := range b.parts {
			if from := &p.call.frame.Columns[i]; c.Type == record.Enum {
				c.Codes = append(c.Codes, from.Codes[p.from:p.to]...)
			} else {
				c.Numbers = append(c.Numbers, from.Numbers[p.from:p.to]...)
			}
		}
	}
	for _, p := range b.parts {
		d.frame.Rows += p.to - p.from
	}
	if cap(d.scores) < d.frame.Rows {
		d.scores = make([]float64, d.frame.Rows)
	}
	d.scores = d.scores[:d.frame.Rows]
	copied := d.now()
	d.version.Bundle().Forest.Score(&d.frame, d.scores)
	scored := d.now()
	first := 0
	for _, p := range b.parts {
		for i := p.from; i < p.to; i++ {
			row := &p.call.rows[i]
			if row.Prediction = d.scores[first]; !pipeline.Finite(row.Prediction) {
				problem := pipeline.NotFinite(d.version.Field())
				row.Problem = &problem
			}
			first++
		}
	}
	b.times.features, b.times.scoring, b.times.output = copied.Sub(began), scored.Sub(copied), d.now().Sub(scored)
}
