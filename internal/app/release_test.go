package app

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/store"
	"millrace.dev/internal/table"
	"millrace.dev/internal/task"
	"millrace.dev/internal/window"
	"millrace.dev/model"
	"millrace.dev/record"
)

// releases has a folder of what each old release has left behind; its README says what is in it.
const releases = "../../testdata/releases"

// release is a copy of what an old release has left behind.
type release struct {
	dir, file string
	app       *App
	log       *lockedBuffer
	broker    string // its address
}

// lockedBuffer is a log that can be read while it is written to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRelease(t *testing.T, name string) *release {
	t.Helper()
	r := &release{dir: filepath.Join(t.TempDir(), name), log: &lockedBuffer{}}
	if err := os.CopyFS(r.dir, os.DirFS(filepath.Join(releases, name))); err != nil {
		t.Fatal(err)
	}
	r.file = filepath.Join(r.dir, "pipeline.yaml")
	r.app = &App{
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Now: time.Now, Version: "test",
		Env: func(name string) (string, bool) { return r.broker, name == "KAFKA_BROKERS" && r.broker != "" },
	}
	return r
}

// TestOldReleases holds that what an old release has left behind is understood: its models, the log of its registry, its state,
// and its topics. What the old release predicted, this one does, too, with the old state.
func TestOldReleases(t *testing.T) {
	t.Parallel()
	list, err := os.ReadDir(releases)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		t.Run(e.Name(), func(t *testing.T) {
			t.Parallel()
			t.Run("registry", func(t *testing.T) { t.Parallel(); newRelease(t, e.Name()).registry(t) })
			t.Run("state", func(t *testing.T) { t.Parallel(); newRelease(t, e.Name()).state(t) })
			t.Run("run", func(t *testing.T) { t.Parallel(); newRelease(t, e.Name()).goesOn(t, true) })
			t.Run("run without state", func(t *testing.T) { t.Parallel(); newRelease(t, e.Name()).goesOn(t, false) })
		})
	}
}

// registry reads the old log, and goes on with it. In it each approval made the version the champion.
func (r *release) registry(t *testing.T) {
	ctx := t.Context()
	p, err := r.app.Load(r.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"houses@1", "houses@2", "@champion"} {
		m, err := r.app.approved(ctx, p, ref)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]string{"@champion": "houses@2"}[ref]; m.Ref != cmp.Or(want, ref) {
			t.Errorf("%s is %s", ref, m.Ref)
		}
		if _, err := pipeline.New(m.Bundle, pipeline.Options{}); err != nil { // the golden rows
			t.Errorf("%s: %v", ref, err)
		}
	}
	models, err := r.app.Models(ModelsOptions{File: r.file})
	if err != nil {
		t.Fatal(err)
	}
	reg := models.Registry
	events, err := reg.Log(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, e := range events {
		told = append(told, fmt.Sprintf("%d %s %s@%d by %s: %s", e.Format, e.Action, e.Model, e.Version, e.Actor, e.Reason))
	}
	want := []string{
		"1 register houses@1 by ada: ", "1 approve houses@1 by grace: good enough to go on", "1 register houses@2 by ada: ", "1 approve houses@2 by grace: smaller",
	}
	if diff := gocmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	if before, err := reg.Before(ctx, "houses"); err != nil || before.Number != 1 {
		t.Errorf("the champion before is %+v, %v", before, err)
	}
	if _, err := reg.Promote(ctx, "houses@1", "houses", registry.Decision{By: "eve", Reason: "the old one was better"}); err != nil {
		t.Fatal(err)
	}
	if v, err := reg.Resolve(ctx, "@champion", "houses"); err != nil || v.Number != 1 {
		t.Errorf("after a promotion the champion is %+v, %v", v, err)
	}
	if v, err := reg.Verify(ctx); err != nil || v.Events != 5 || v.Blobs != 2 {
		t.Errorf("verify: %+v, %v", v, err)
	}
}

// sales are the records that the old release was fed before it was stopped.
func (r *release) sales(t *testing.T, name string) (list []sale) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		s := sale{line: strings.TrimSpace(line)}
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

type sale struct {
	line string

	City string  `json:"city"`
	Sold string  `json:"sold"`
	Area float64 `json:"area"`
}

// program returns the topology that run would have, with its model.
func (r *release) program(t *testing.T) (*task.Program, *model.Loaded) {
	t.Helper()
	p, err := r.app.Load(r.file, nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := r.app.approved(t.Context(), p, "houses@1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewScoring(p, m, ScoringOptions{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	program, err := Topology(p, m.Bundle.Plan, s).Program()
	if err != nil {
		t.Fatal(err)
	}
	return program, m
}

// rows returns the rows of a store in all tasks of the old state folder.
func (r *release) rows(t *testing.T, program *task.Program, name string) map[string][]byte {
	t.Helper()
	db, err := store.Open(filepath.Join(r.dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only read
	rows := map[string][]byte{}
	for _, sub := range program.Subs {
		for _, spec := range sub.Stores {
			for partition := range int32(2) {
				if spec.Name != name {
					continue
				}
				k, err := db.Task(task.ID{Sub: sub.ID, Partition: partition}.String())
				if err != nil {
					t.Fatal(err)
				}
				s, err := k.Store(store.Spec{Name: name})
				if err != nil {
					t.Fatal(err)
				}
				if _, ok := k.Checkpoint(name); !ok {
					t.Errorf("the store %s of partition %d has no checkpoint", name, partition)
				}
				err = s.Scan(nil, nil, func(key, value []byte) (bool, error) {
					row, ok, err := spec.Row(key, value)
					if ok {
						rows[string(row.Key)] = bytes.Clone(row.Value)
					}
					return true, err
				})
				if err != nil {
					t.Fatal(err)
				}
				if err := k.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return rows
}

// state reads the old state: the windows have what was in the records, the table what its topic said.
func (r *release) state(t *testing.T) {
	program, m := r.program(t)
	cities, err := pipeline.CompileWindow(&m.Bundle.Plan.Windows()[0])
	if err != nil {
		t.Fatal(err)
	}
	type seen struct{ N, Mean float64 }
	want, got := map[string]seen{}, map[string]seen{}
	latest := time.Time{}
	for _, s := range r.sales(t, "before.jsonl") { // all of them within the eight days of the window
		w := want[s.City]
		want[s.City] = seen{w.N + 1, w.Mean + s.Area}
		if latest, err = time.Parse(time.DateTime, s.Sold); err != nil {
			t.Fatal(err)
		}
	}
	for city, w := range want {
		want[city] = seen{w.N, w.Mean / w.N}
	}
	for key, value := range r.rows(t, program, "cities") {
		s, err := cities.Decode(value)
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		out := make([]float64, 2)
		s.Read(latest.Add(time.Minute).UnixMicro(), []window.Value{window.Number(1)}, out)
		got[key] = seen{out[0], out[1]}
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("windows: %s", diff)
	}

	schema := m.Bundle.Plan.Tables()[0].Schema
	pasts, err := table.NewPasts(table.Options{Schema: schema, History: 400 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	rates := map[string][3]float64{}
	for key, value := range r.rows(t, program, "sellers") {
		var list [3]float64
		for i, day := range []int{1, 14, 18} {
			b, err := pasts.Get(value, time.Date(2014, 6, day, 0, 0, 0, 0, time.UTC).UnixMicro())
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			row, err := schema.DecodeRow(b)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			list[i] = row.Numbers[0]
		}
		rates[key] = list
	}
	if diff := gocmp.Diff(map[string][3]float64{"s0": {1, 1, 1}, "s1": {1.25, 2, 2}, "s2": {1.5, 1.5, 1}, "s3": {1.75, 1.75, 1.75}, "s4": {2, 2, 2}}, rates); diff != "" {
		t.Errorf("table: %s", diff)
	}
}

// renew makes the state as fresh as if the old release had been stopped just now: what is older than half a day is restored.
func (r *release) renew(t *testing.T) {
	t.Helper()
	db, err := store.Open(filepath.Join(r.dir, "state"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, err := db.Task("changelogs")
	if err != nil {
		t.Fatal(err)
	}
	s, err := k.Store(store.Spec{Name: "changelogs"})
	if err != nil {
		t.Fatal(err)
	}
	var stamps [][]byte
	err = s.Scan([]byte("task "), []byte("task!"), func(key, _ []byte) (bool, error) {
		stamps = append(stamps, bytes.Clone(key))
		return true, nil
	})
	for _, key := range stamps {
		if err == nil {
			err = s.Put(key, binary.BigEndian.AppendUint64(nil, uint64(time.Now().UnixMilli()))) //nolint:gosec // no negative number
		}
	}
	if len(stamps) == 0 || err != nil {
		t.Fatalf("%d stamps, %v", len(stamps), err)
	}
	k.Seal()
	if err := k.Commit(nil); err != nil {
		t.Fatal(err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Flush(); err != nil { // Close forgets what is not in files
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// goesOn runs the pipeline with the old state, or without any, on the topics that the old release has left behind: the next
// records get the predictions that the old release gave them.
func (r *release) goesOn(t *testing.T, withState bool) {
	broker, err := devbroker.Start(t.Context(), devbroker.Options{Dir: filepath.Join(r.dir, "broker"), Addr: "127.0.0.1:0", Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close() //nolint:errcheck // the test is over
	r.broker = broker.Addr()
	if withState {
		r.renew(t)
	} else if err := os.RemoveAll(filepath.Join(r.dir, "state")); err != nil {
		t.Fatal(err)
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{broker.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := &replayable{app: r.app, file: r.file, broker: broker, client: client}
	var records []record.Raw
	for _, s := range r.sales(t, "after.jsonl") {
		records = append(records, record.Raw{Key: []byte(s.City), Value: []byte(s.line), Timestamp: time.Now().UnixMilli()})
	}
	from, err := client.EndOffsets(t.Context(), "predictions", false)
	if err != nil {
		t.Fatal(err)
	}
	p.send(t, "houses", records...)
	p.run(t, RunOptions{Model: "houses@1", StateDir: filepath.Join(r.dir, "state")}, len(records))

	var got []string
	err = client.Read(t.Context(), kafka.ReadConfig{From: map[string]kafka.Offsets{"predictions": from}}, func(s kafka.Step) error {
		for i := range s.Len() {
			var raw record.Raw
			s.Read(i, &raw)
			got = append(got, string(raw.Value))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	var want []string
	for _, s := range r.sales(t, "predictions-after.jsonl") {
		want = append(want, s.line)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("predictions: %s", diff)
	}
	restored := 0
	for line := range strings.Lines(r.log.String()) {
		if strings.Contains(line, `"task runs"`) && !strings.Contains(line, "records_restored=0 ") {
			restored++
		}
	}
	if withState != (restored == 0) || strings.Contains(r.log.String(), "restoring all of it") {
		t.Errorf("%d tasks have restored records:\n%s", restored, r.log)
	}
}
