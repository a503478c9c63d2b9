package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/feature"
	"millrace.dev/internal/app"
	"millrace.dev/internal/batch"
	"millrace.dev/internal/config"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/table"
	"millrace.dev/model"
	"millrace.dev/record"
	"millrace.dev/stream"
	"millrace.dev/streamtest"
)

// TestMetamorphic holds the promise of the product: a record gets one and the same prediction, bit for bit, from a file and
// from a stream, however the stream is partitioned and whatever happens to it. It makes random pipelines, with features of
// every kind, windows and tables, and random data, and compares what batch says with what streams say: predictions, dead
// letters and the inputs of the model, also those that training computed.
//
// MILLRACE_METAMORPHIC is how many pipelines are tried (see make metamorphic), MILLRACE_SEED the seed of the first.
func TestMetamorphic(t *testing.T) { //nolint:tparallel // the pipelines are counted together, and the first that fails ends it
	t.Parallel()
	runs, seed := uint64(8), uint64(1)
	if testing.Short() { // most of it compares bytes on one goroutine
		runs = 2
	}
	long, err := strconv.ParseUint(os.Getenv("MILLRACE_METAMORPHIC"), 10, 32)
	if err == nil {
		runs, seed = long, uint64(time.Now().UnixNano()%1_000_000)*1000
	}
	if s, err := strconv.ParseUint(os.Getenv("MILLRACE_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("%d pipelines, MILLRACE_SEED=%d and on", runs, seed)
	var sum metaSum
	for i := range runs {
		ok := t.Run(fmt.Sprintf("MILLRACE_SEED=%d", seed+i), func(t *testing.T) {
			newMeta(t, seed+i, &sum).compare()
		})
		if !ok && os.Getenv("MILLRACE_KEEP_GOING") == "" {
			break
		}
	}
	t.Logf("%+v", sum)
}

// metaSum is what was compared.
type metaSum struct{ Pipelines, Streams, Records, Predictions, Letters, Inputs, Faults, Warned, Rejected int }

// outcome is what becomes of a record.
type outcome struct {
	Prediction string // the bytes of the record with it; "" is none
	Letter     string // stage, class, field and reason
	Inputs     []model.Value
	Broken     string // the rules that the record breaks, and is predicted all the same
}

// meta compares what becomes of the records of one world.
type meta struct {
	t        *testing.T
	seed     uint64
	w        *world
	sum      *metaSum
	pipeline *config.Pipeline
	model    *model.Loaded
	rows     map[string]table.Rows
	static   map[string]table.Rows
	want     []outcome // by record
	folder   string
}

func newMeta(t *testing.T, seed uint64, sum *metaSum) *meta {
	t.Helper()
	m := &meta{t: t, seed: seed, sum: sum, folder: t.TempDir()}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s", m.w.yaml)
		}
	})
	a := &app.App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Env: func(string) (string, bool) { return "", false }, Version: "test"}
	var err error
	for _, required := range []bool{true, false} {
		m.w = newWorld(seed, required)
		m.w.write(t, m.folder)
		if m.pipeline, err = a.Load(filepath.Join(m.folder, "pipeline.yaml"), nil); err != nil {
			t.Fatal(err)
		}
		if m.model, err = a.ModelOf(t.Context(), m.pipeline, m.w.changelogs()); err == nil || !strings.Contains(err.Error(), pipeline.ClassNoRow) {
			break // else too few records have a row
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if m.rows, m.static, err = a.RowsOf(t.Context(), m.pipeline, m.model.Bundle.Plan, m.w.changelogs()); err != nil {
		t.Fatal(err)
	}
	return m
}

// compare runs the world in all ways.
func (m *meta) compare() {
	m.t.Helper()
	m.sum.Pipelines++
	m.sum.Records += len(m.w.records)
	m.batch()
	m.training()
	r := rand.New(rand.NewPCG(m.seed, 99))
	for _, partitions := range []int{1, []int{2, 5}[r.IntN(2)]} {
		for _, faults := range []bool{false, true} {
			if m.t.Failed() {
				return
			}
			m.stream(r, partitions, faults, false)
		}
	}
	// In bursts only the records of one partition are in order: it has to have all of a window's key.
	ordered := len(m.w.windows) == 0 || len(m.w.windows) == 1 && (m.w.sourceKey == "" || m.w.sourceKey == m.w.windows[0])
	if ordered && !m.t.Failed() {
		m.stream(r, []int{2, 5}[r.IntN(2)], true, true)
	}
}

// batch has batch predict the records: what it says is what all others have to say.
func (m *meta) batch() {
	m.t.Helper()
	m.want = make([]outcome, len(m.w.records))
	var out, rejects bytes.Buffer
	o := app.PredictOptionsOf(m.pipeline, m.rows)
	o.Data, o.Out, o.Rejects = filepath.Join(m.folder, "all.jsonl"), &out, &rejects
	if _, err := batch.Predict(m.t.Context(), m.model.Bundle, o); err != nil {
		m.t.Fatal(err)
	}
	for line := range strings.Lines(rejects.String()) {
		var r batch.Reject
		unmarshal(m.t, line, &r)
		m.want[r.Record].Letter = strings.Join([]string{r.Stage, r.Class, r.Field, r.Reason}, " | ")
		m.sum.Letters++
		if r.Stage == record.StageCheck {
			m.sum.Rejected++
		}
	}
	lines := strings.Split(out.String(), "\n")
	for i := range m.want {
		if m.want[i].Letter == "" {
			m.want[i].Prediction, lines = lines[0], lines[1:]
			m.sum.Predictions++
		}
	}
	m.inputs(o)
}

// inputs computes the inputs of the model for each record, one by one, with states of windows of their own.
func (m *meta) inputs(o batch.PredictOptions) {
	m.t.Helper()
	b := m.model.Bundle
	path, err := pipeline.New(b, pipeline.Options{MaxBytes: o.MaxBytes, Tables: o.Required, Checks: o.Checks})
	if err != nil {
		m.t.Fatal(err)
	}
	w, err := path.NewWorker()
	if err != nil {
		m.t.Fatal(err)
	}
	windows, err := pipeline.NewWindows(b.Plan)
	if err != nil {
		m.t.Fatal(err)
	}
	states := pipeline.NewMemoryStates(windows)
	oracle := newMetaOracle(m, windows)
	batch := w.NewBatch()
	for i := range m.w.records {
		batch.Reset()
		batch.Append(record.Raw{Value: []byte(m.w.records[i].value), Timestamp: -1})
		w.Decode(batch)
		columns, err := windows.Observe(batch, w.Times(), states)
		if err != nil {
			m.t.Fatal(err)
		}
		oracle.windows(i, batch.Problem(0) == nil, columns)
		w.Complete(batch, pipeline.Enrichment{Rows: oracle.lookup(i), Windows: columns})
		if m.want[i].Prediction == "" {
			continue
		}
		for _, mark := range w.Marks() {
			m.want[i].Broken = mark.Rules
			m.sum.Warned++
		}
		m.want[i].Inputs = model.NewGoldenRow(nil, w.Frame(), 0, 0).Features
		if got := string(w.Output(0)); got != m.want[i].Prediction {
			m.t.Errorf("record %d: %s by itself, and %s among others", i, got, m.want[i].Prediction)
		}
	}
}

// training compares the inputs that training has computed with those of batch: the golden rows have some.
func (m *meta) training() {
	m.t.Helper()
	names := m.model.Bundle.Plan.Inputs()
	id := slices.IndexFunc(names, func(c record.Column) bool { return c.Name == "id" })
	for _, g := range m.model.Bundle.Golden {
		if g.Rejected != nil || g.Features[id].Kind == model.Missing {
			continue
		}
		i := int(g.Features[id].Float())
		if m.want[i].Prediction == "" { // a rule rejects it, which training does not ask
			continue
		}
		m.sum.Inputs++
		m.sameInputs("training", i, g.Features)
	}
}

func (m *meta) sameInputs(way string, i int, got []model.Value) {
	m.t.Helper()
	for k, c := range m.model.Bundle.Plan.Inputs() {
		if got[k] != m.want[i].Inputs[k] {
			m.t.Errorf("%s: record %d: input %s is %v, want %v: %s", way, i, c.Name, show(got[k]), show(m.want[i].Inputs[k]), m.w.records[i].value)
		}
	}
}

func show(v model.Value) string {
	if v.Kind == model.Number {
		return fmt.Sprintf("%v (%x)", v.Float(), v.Bits)
	}
	return fmt.Sprintf("%+v", v)
}

// stream runs the records through the topology: one after the other, so that each is through before the next one comes, or
// in bursts, where only the records of one key are in order.
func (m *meta) stream(r *rand.Rand, partitions int, faults, bursts bool) {
	m.t.Helper()
	way := fmt.Sprintf("stream of %d partitions, faults %v, bursts %v", partitions, faults, bursts)
	m.sum.Streams++
	s, err := app.NewScoring(m.pipeline, m.model, app.ScoringOptions{Threads: 1, Static: m.static})
	if err != nil {
		m.t.Fatal(err)
	}
	options := []streamtest.Option{streamtest.Partitions(partitions)}
	if faults && r.IntN(2) == 0 {
		options = append(options, streamtest.OnDisk())
	}
	if bursts {
		options = append(options, streamtest.CommitByHand())
	}
	for _, t := range m.w.tables {
		if t.truncates && m.pipeline.Table(t.name) != nil && slices.ContainsFunc(m.model.Bundle.Plan.Tables(), named(t.name)) {
			options = append(options, streamtest.Partitions(1, "ref."+t.name)) // a truncate has its place among all changes
		}
	}
	d := streamtest.New(m.t, app.Topology(m.pipeline, m.model.Bundle.Plan, s), options...)
	m.load(d)
	got := make([]outcome, len(m.w.records))
	in := streamtest.NewInput(d, "in", stream.Bytes(), stream.Bytes())
	for i := 0; i < len(m.w.records); {
		if faults {
			m.fault(d, r)
		}
		n := 1
		if bursts {
			n = min(1+r.IntN(40), len(m.w.records)-i)
		}
		for k := range n {
			rec := &m.w.records[i+k]
			raw := stream.Record[[]byte, []byte]{Key: rec.key, NullKey: rec.key == nil, Value: []byte(rec.value), Timestamp: rec.stamp, Headers: []stream.Header{{Key: "record", Value: []byte(strconv.Itoa(rec.id))}}}
			switch {
			case m.w.sourceKey != "" && rec.key != nil || len(m.w.windows) == 0:
				in.PipeRecord(raw)
			default:
				h := fnv.New32()
				key, _ := rec.windowKey(m.w.windows[0])
				h.Write([]byte(key))
				in.PipeTo(int32(h.Sum32()%uint32(partitions)), raw)
			}
		}
		i += n
		if bursts {
			d.Commit()
		}
		m.look(s.Workers[0], got)
	}
	if bursts {
		d.Commit()
	}
	m.collect(d, way, partitions, got)
}

func named(name string) func(t feature.Table) bool {
	return func(t feature.Table) bool { return t.Name == name }
}

// load writes the tables' topics, and has the application read them.
func (m *meta) load(d *streamtest.Driver) {
	m.t.Helper()
	for topic, changes := range m.w.changelogs() {
		if !slices.Contains(d.Topics(), topic) {
			continue // no input of the model needs the table
		}
		in := streamtest.NewInput(d, topic, stream.Bytes(), stream.Bytes())
		var all []stream.Record[[]byte, []byte]
		for _, c := range changes {
			all = append(all, stream.Record[[]byte, []byte]{Key: c.Key, NullKey: c.Key == nil, Value: c.Value, NullValue: c.Value == nil, Timestamp: c.Timestamp})
		}
		in.PipeAll(all...)
		d.Commit()
	}
}

// fault has something happen to the application, now and then.
func (m *meta) fault(d *streamtest.Driver, r *rand.Rand) {
	m.t.Helper()
	const often = 10
	if r.IntN(often) > 0 {
		return
	}
	m.sum.Faults++
	switch r.IntN(6) {
	case 0:
		d.Crash()
	case 1:
		d.Abort()
	case 2:
		d.LoseState()
	case 3:
		id := d.Tasks()[r.IntN(len(d.Tasks()))]
		var sub, partition int
		if _, err := fmt.Sscanf(id, "%d_%d", &sub, &partition); err != nil {
			m.t.Fatal(err)
		}
		d.Rebalance(sub, int32(partition))
	default:
		if !d.Pending() {
			d.CrashAt([]streamtest.CrashPoint{streamtest.WhileProcessing, streamtest.BeforeFlush, streamtest.BeforeCommit, streamtest.AfterCommit}[r.IntN(4)], r.IntN(3))
		}
	}
}

// look takes the inputs of the batch that was scored last.
func (m *meta) look(w *pipeline.Worker, got []outcome) {
	m.t.Helper()
	frame := w.Frame()
	id := slices.IndexFunc(frame.Columns, func(c record.Column) bool { return c.Name == "id" })
	for row := range frame.Rows {
		x := frame.Columns[id].Numbers[row]
		if i := int(x); x == x && m.want[i].Prediction != "" {
			got[i].Inputs = model.NewGoldenRow(nil, frame, row, 0).Features
		}
	}
}

// collect reads what has come of the records, and compares it.
func (m *meta) collect(d *streamtest.Driver, way string, partitions int, got []outcome) {
	m.t.Helper()
	number := func(r *record.Raw) int {
		for _, h := range r.Headers {
			if h.Key == "record" {
				i, err := strconv.Atoi(string(h.Value))
				if err != nil {
					m.t.Fatal(err)
				}
				return i
			}
		}
		return -1 // a change of a table
	}
	once := func(i int) {
		m.t.Helper()
		if got[i].Prediction != "" || got[i].Letter != "" {
			m.t.Errorf("%s: record %d has two results", way, i)
		}
	}
	for p := range int32(partitions) {
		for _, r := range d.Raw("out", p) {
			i := number(&r)
			once(i)
			got[i].Prediction = string(r.Value)
			for _, x := range r.Headers {
				if x.Key == "millrace.checks" {
					got[i].Broken = string(x.Value)
				}
			}
		}
		for _, r := range d.Raw("dlq", p) {
			i := number(&r)
			if i < 0 {
				continue
			}
			once(i)
			h := map[string]string{}
			for _, x := range r.Headers {
				h[strings.TrimPrefix(x.Key, "millrace.dlq.")] = string(x.Value)
			}
			got[i].Letter = strings.Join([]string{h["stage"], h["class"], h["field"], h["reason"]}, " | ")
		}
	}
	wrong := 0
	for i, g := range got {
		if g.Inputs != nil && m.want[i].Prediction != "" {
			m.sum.Inputs++
			m.sameInputs(way, i, g.Inputs)
		}
		if g.Prediction != m.want[i].Prediction || g.Letter != m.want[i].Letter || g.Broken != m.want[i].Broken {
			if wrong++; wrong <= 5 {
				m.t.Errorf("%s: record %d (%s): %s", way, i, m.w.records[i].value, cmp.Diff([]string{m.want[i].Prediction, m.want[i].Letter, m.want[i].Broken}, []string{g.Prediction, g.Letter, g.Broken}))
			}
		}
	}
	if wrong > 0 {
		m.t.Errorf("%s: %d of %d records have another result than in batch", way, wrong, len(got))
	}
}

func unmarshal(t *testing.T, text string, v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), v); err != nil {
		t.Fatal(err)
	}
}
