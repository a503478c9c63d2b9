package batch

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"millrace.dev/feature"
	"millrace.dev/internal/drift"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/stat"
	"millrace.dev/model"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// The bounds of what is predicted again.
const (
	effectRows  = 4096     // records
	effectBytes = 64 << 20 // of them
	unseenTexts = 5        // that are named of a field
)

// Effects are what columns do to the predictions of a window, and the texts in it that training has not seen.
type Effects struct {
	By       map[string]*drift.Effect      // by column
	Together *drift.Effect                 // of all of them
	Unseen   map[string][]profile.Frequent // by field, the most frequent first
}

// FindEffects reads the data once more, draws records of one window, whose number is that of [WatchedWindow], and predicts
// them again with each of some columns put back to the distribution that a profile has of it: see putBack. Fields go through
// all features and tables again; the aggregates of windows stay as they are. A feature is put back by itself. Texts and times
// have no effect.
func FindEffects(ctx context.Context, b *model.Bundle, o WatchOptions, of *WatchedWindow, columns []string) (*Effects, error) {
	r, err := o.replay(ctx, b)
	if err != nil {
		return nil, err
	}
	d := &drawing{windowing: windowing{every: o.Windows.Every}, wanted: of.Window, bound: math.MaxUint64}
	if n := of.Profile.Rows; n > effectRows {
		d.bound = uint64((effectRows - 192) / float64(n) * math.MaxUint64) // three deviations fewer than there is room for
	}
	err = r.each(ctx, nil, func(batch *record.Batch, first int64, windows [][]float64) error {
		of := d.assign(batch, r.worker.Times(), o.Now)
		for i := range batch.Len() {
			if of[i] == d.wanted {
				d.draw(batch, i, uint64(first)+uint64(i), windows) //nolint:gosec // no negative number
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return d.effects(b, r, columns)
}

// drawing holds the records that are drawn.
type drawing struct {
	windowing

	wanted  int64
	bound   uint64 // records that hash higher are out
	raws    []record.Raw
	windows [][]float64 // by aggregate
	bytes   int
}

// draw keeps a record if its number hashes low enough, and if there is room.
func (d *drawing) draw(b *record.Batch, i int, number uint64, windows [][]float64) {
	raw := b.Raw(i)
	if stat.Mix(number) > d.bound || len(d.raws) >= effectRows || d.bytes+len(raw.Value) > effectBytes {
		return
	}
	own := *raw
	own.Key, own.Value, own.Headers = bytes.Clone(raw.Key), bytes.Clone(raw.Value), nil
	d.bytes += len(own.Value)
	d.raws = append(d.raws, own)
	for len(d.windows) < len(windows) {
		d.windows = append(d.windows, nil)
	}
	for k := range windows {
		d.windows[k] = append(d.windows[k], windows[k][i])
	}
}

// rescore predicts drawn records again and again.
type rescore struct {
	bundle    *model.Bundle
	evaluator *feature.Evaluator
	batch     *record.Batch
	times     []int64
	windows   [][]float64
	finder    *pipeline.Finder
	tables    lookup
	base      []float64 // predictions as they are
}

func (d *drawing) effects(b *model.Bundle, r *replay, columns []string) (*Effects, error) {
	out := &Effects{By: map[string]*drift.Effect{}, Unseen: map[string][]profile.Frequent{}}
	if len(d.raws) == 0 {
		return out, nil
	}
	w, err := r.path.NewWorker()
	if err != nil {
		return nil, err
	}
	s := &rescore{
		bundle: b, evaluator: b.Plan.NewEvaluator(), batch: w.NewBatch(), windows: d.windows, tables: r.tables,
		finder: pipeline.NewFinder(b.Plan, nil), // they have been predicted: none lacks a row that it has to have
	}
	for i := range d.raws {
		s.batch.Append(d.raws[i])
	}
	w.Decode(s.batch)
	s.times = slices.Clone(w.Times())
	s.base = s.score(nil)
	var fields, features []string
	for _, name := range columns {
		if _, ok := b.Schema.Index(name); ok {
			s.unseen(name, out.Unseen)
			fields = append(fields, name)
		} else {
			features = append(features, name)
		}
	}
	for _, name := range fields {
		if undo := s.putField(name); undo != nil {
			out.By[name] = s.effect(s.score(nil))
			undo()
		}
	}
	for _, name := range features {
		if k := s.input(name); k >= 0 {
			out.By[name] = s.effect(s.score([]int{k}))
		}
	}
	if len(out.By) > 1 {
		var inputs []int
		for _, name := range fields {
			s.putField(name)
		}
		for _, name := range features {
			if k := s.input(name); k >= 0 {
				inputs = append(inputs, k)
			}
		}
		out.Together = s.effect(s.score(inputs))
	}
	return out, nil
}

// score predicts the records as they are in the batch, with some inputs put back.
func (s *rescore) score(inputs []int) []float64 {
	f := s.evaluator.Eval(s.batch, feature.Enrichment{Rows: s.finder.Bind(s.batch, s.times, s.tables), Windows: s.windows})
	for _, k := range inputs {
		c := &f.Columns[k]
		ref, _ := s.bundle.Profile.Column(c.Name)
		if c.Type == record.Numeric {
			putBackNumbers(c.Numbers[:f.Rows], ref)
			continue
		}
		codes := map[string]int32{}
		for code, level := range c.Levels {
			codes[level] = int32(code) //nolint:gosec // few
		}
		putBackLevels(c.Codes[:f.Rows], ref, func(level string) int32 {
			if code, ok := codes[level]; ok {
				return code
			}
			return record.MissingCode
		})
	}
	out := make([]float64, f.Rows)
	s.bundle.Forest.Score(f, out)
	return out
}

// input returns the position of the feature that is an input and has a distribution to be put back to; -1 is none.
func (s *rescore) input(name string) int {
	ref, ok := s.bundle.Profile.Column(name)
	if !ok || !restorable(ref) {
		return -1
	}
	return slices.IndexFunc(s.bundle.Inputs, func(in model.Input) bool { return in.Name == name })
}

// restorable tells whether a column has a distribution that values can be put back to.
func restorable(ref *profile.Column) bool {
	return (ref.Kind == profile.Number || ref.Kind == profile.Level) && ref.Present() > 0 && len(ref.Counts) > 1
}

// putField puts a field back in the batch. It returns what undoes that, or nil if there is nothing to be put back.
func (s *rescore) putField(name string) func() {
	i, _ := s.bundle.Schema.Index(name)
	ref, ok := s.bundle.Profile.Column(name)
	if !ok || !restorable(ref) {
		return nil
	}
	if ref.Kind == profile.Number {
		numbers := s.batch.Numbers(i)
		before := slices.Clone(numbers)
		putBackNumbers(numbers, ref)
		return func() { copy(numbers, before) }
	}
	codes, dict := s.batch.Codes(i), s.batch.Dict(i)
	before := slices.Clone(codes)
	putBackLevels(codes, ref, func(level string) int32 { return dict.Code([]byte(level)) })
	return func() { copy(codes, before) }
}

// unseen counts the texts of a field that training has not seen.
func (s *rescore) unseen(name string, by map[string][]profile.Frequent) {
	i, _ := s.bundle.Schema.Index(name)
	ref, ok := s.bundle.Profile.Column(name)
	if !ok || ref.Kind != profile.Level {
		return
	}
	known := map[string]bool{}
	for _, level := range ref.Levels {
		known[level] = true
	}
	n := map[string]uint64{}
	for _, code := range s.batch.Codes(i) {
		if code == record.MissingCode {
			continue
		}
		if text := s.batch.Dict(i).Level(code); !known[text] {
			n[text]++
		}
	}
	var list []profile.Frequent
	for text, count := range n {
		list = append(list, profile.Frequent{Text: text, N: count})
	}
	slices.SortFunc(list, func(a, b profile.Frequent) int {
		return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Text, b.Text))
	})
	if len(list) > 0 {
		by[name] = list[:min(len(list), unseenTexts)]
	}
}

// effect compares predictions with those as they are.
func (s *rescore) effect(restored []float64) *drift.Effect {
	n := float64(len(restored))
	mean, back, squares, changed := 0.0, 0.0, 0.0, 0
	for i, x := range restored {
		mean += s.base[i] / n
		back += x / n
		if math.Abs(s.base[i]-x) > 0.01*math.Abs(x) {
			changed++
		}
	}
	for i, x := range restored {
		d := s.base[i] - x - (mean - back)
		squares += float64(d * d)
	}
	return &drift.Effect{
		Rows: len(restored), Mean: drift.Number(mean), Restored: drift.Number(back),
		Error: drift.Number(math.Sqrt(squares / max(1, n-1) / n)), Changed: drift.Number(float64(changed) / n),
	}
}

// putBackNumbers gives numbers the distribution of the reference, changing as little as that takes: as many become missing, or
// get a value, as the shares of missing values differ; the others keep their order, and the one of which a share of them is
// not above becomes the reference's quantile of that share. So values in another unit become what they were.
func putBackNumbers(x []float64, ref *profile.Column) {
	var missing, present []int
	for i, v := range x {
		if v != v {
			missing = append(missing, i)
		} else {
			present = append(present, i)
		}
	}
	want := int(math.Round(ref.MissingShare() * float64(len(x))))
	shuffle(missing)
	shuffle(present)
	var drawn []int
	if n := len(missing) - want; n > 0 {
		drawn = missing[:n]
	} else {
		for _, i := range present[:min(-n, len(present))] {
			x[i] = math.NaN()
		}
		present = present[min(-n, len(present)):]
	}
	slices.SortStableFunc(present, func(a, b int) int { return cmp.Compare(x[a], x[b]) })
	for k, i := range present {
		x[i] = ref.Quantile((float64(k) + 0.5) / float64(len(present)))
	}
	for k, i := range drawn {
		x[i] = ref.Quantile((float64(k) + 0.5) / float64(len(drawn)))
	}
}

// putBackLevels gives levels the shares of the reference, changing as few records as that takes: of a level, or of texts that the
// reference does not have, that come too often some become one that comes too rarely. So a level that was renamed becomes what it was.
func putBackLevels(codes []int32, ref *profile.Column, code func(level string) int32) {
	cells := len(ref.Levels) + 2 // the levels, missing, and all other texts
	missing, other := cells-2, cells-1
	cell := map[int32]int{record.MissingCode: missing}
	own := make([]int32, cells)
	share := make([]float64, cells)
	for k, level := range ref.Levels {
		own[k] = code(level)
		cell[own[k]], share[k] = k, float64(ref.Counts[k])/float64(ref.Rows)
	}
	own[missing], share[missing] = record.MissingCode, ref.MissingShare()
	share[other] = float64(ref.Counts[len(ref.Counts)-1]) / float64(ref.Rows)
	rows := make([][]int, cells)
	for i, c := range codes {
		k, known := cell[c]
		if !known {
			k = other
		}
		rows[k] = append(rows[k], i)
	}
	var pool []int
	lack := make([]int, cells)
	for k := range rows {
		want := int(math.Round(share[k] * float64(len(codes))))
		if n := len(rows[k]) - want; n > 0 {
			shuffle(rows[k])
			pool = append(pool, rows[k][:n]...)
		} else if k != other {
			lack[k] = -n
		}
	}
	shuffle(pool)
	for k, n := range lack {
		for ; n > 0 && len(pool) > 0; n-- {
			codes[pool[0]] = own[k]
			pool = pool[1:]
		}
	}
}

// shuffle puts positions in an order that has nothing to do with the records, and is always the same.
func shuffle(rows []int) {
	slices.SortFunc(rows, func(a, b int) int { return cmp.Compare(stat.Mix(uint64(a)), stat.Mix(uint64(b))) }) //nolint:gosec // no negative number
}
