package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/backtest"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/engine"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/watch"
	"millrace.dev/record"
)

const backtestFile = `
version: 1
name: flats
kafka: {brokers: %q}
schema: {time: [at], numeric: [rent, size], enum: [city]}
source: {topic: flats, key: city, event_time: at}
tables:
  cities: {topic: ref.cities, data: cities.csv, key: city, history: 90d, required: true, schema: {numeric: [income]}}
windows:
  recent: {key: city, over: 8d, grace: 4d, aggregates: {n: count(), usual: mean(size)}}
features: {wealth: "cities[city].income / size", relative: size / recent.usual, busy: recent.n}
train: {data: flats.csv, label: rent, ignore: [at], gbm: {ntrees: 20, min_rows: 2}}
sink: {topic: out}
dead_letter: {topic: dlq}
`

// replayable is a pipeline that has run on the development broker, with what it was fed.
type replayable struct {
	app    *App
	file   string
	broker *devbroker.Broker
	client *kafka.Client
}

func may(day, hour int) time.Time { return time.Date(2014, 5, day, hour, 0, 0, 0, time.UTC) }

func newReplayable(t *testing.T, r *rand.Rand) *replayable {
	t.Helper()
	dir := t.TempDir()
	broker, err := devbroker.Start(t.Context(), devbroker.Options{Dir: filepath.Join(dir, "broker"), Addr: "127.0.0.1:0", Partitions: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() }) // the test is over
	forever := map[string]string{"retention.ms": "-1"}
	for name, partitions := range map[string]int{"flats": 3, "ref.cities": 2, "out": 3, "dlq": 1} {
		if err := broker.CreateTopic(name, partitions, forever); err != nil {
			t.Fatal(err)
		}
	}
	training, cities := []byte("rent,size,city,at\n"), []byte("city,income\n")
	for i := range 20 {
		cities = fmt.Appendf(cities, "c%d,%d\n", i, 100+10*i)
	}
	for range 400 {
		size, city := 20+r.IntN(100), r.IntN(20)
		training = fmt.Appendf(training, "%d,%d,c%d,2014-05-%02d\n", 100+8*size+20*city+r.IntN(50), size, city, 1+r.IntN(28))
	}
	file := filepath.Join(dir, "pipeline.yaml")
	for name, text := range map[string]string{"pipeline.yaml": fmt.Sprintf(backtestFile, broker.Addr()), "flats.csv": string(training), "cities.csv": string(cities)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	client, err := kafka.New(kafka.Config{Brokers: []string{broker.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	a := &App{Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test", Env: func(string) (string, bool) { return "", false }}
	for _, trees := range []string{"20", "3"} {
		if _, err := a.Train(t.Context(), TrainOptions{File: file, By: "ada", Set: []string{"train.gbm.ntrees=" + trees}}); err != nil {
			t.Fatal(err)
		}
	}
	m, err := a.Models(ModelsOptions{File: file})
	if err == nil {
		_, err = m.Registry.Approve(t.Context(), "flats@1", "flats", registry.Decision{By: "eve", Reason: "fine"})
	}
	if err != nil {
		t.Fatal(err)
	}
	return &replayable{app: a, file: file, broker: broker, client: client}
}

// send writes records to a topic.
func (p *replayable) send(t *testing.T, topic string, records ...record.Raw) {
	t.Helper()
	producer, err := p.client.NewProducer(kafka.ProducerConfig{Topic: topic})
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	for i := range records {
		if err := producer.Send(t.Context(), &records[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// income says what the income of a city is from a time on.
func income(city string, at time.Time, value int) record.Raw {
	return record.Raw{Key: []byte(city), Value: fmt.Appendf(nil, `{"income":%d}`, value), Timestamp: at.UnixMilli()}
}

// run runs the pipeline until n records have a result.
func (p *replayable) run(t *testing.T, o RunOptions, n int) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	started, done := make(chan *Running, 1), make(chan error, 1)
	go func() {
		o.File, o.InstanceID, o.Started = p.file, "one", func(r *Running) { started <- r }
		_, err := p.app.Run(ctx, o)
		done <- err
	}()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	var r *Running
	for over := false; !over; {
		select {
		case r = <-started:
		case err := <-done:
			t.Fatalf("run ended: %v", err)
		case <-t.Context().Done():
			t.Fatal("run takes too long")
		case <-look.C:
			if r != nil {
				s := r.Stats()
				over = int(s.Predictions+s.TotalDeadLetters()) == n
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// results reads what run has written, and tells the records that count: what their figures are.
func (p *replayable) results(t *testing.T, counts func(partition int32, offset int64) bool) *backtest.Report {
	t.Helper()
	tally, err := backtest.NewTally(1)
	if err != nil {
		t.Fatal(err)
	}
	every := watch.Every{Time: 24 * time.Hour}
	for _, topic := range []string{"out", "dlq"} {
		from, err := p.client.StartOffsets(t.Context(), topic)
		if err != nil {
			t.Fatal(err)
		}
		err = p.client.Read(t.Context(), kafka.ReadConfig{From: map[string]kafka.Offsets{topic: from}}, func(s kafka.Step) error {
			for i := range s.Len() {
				var raw record.Raw
				s.Read(i, &raw)
				header := map[string]string{}
				for _, h := range raw.Headers {
					header[h.Key] = string(h.Value)
				}
				var value struct {
					At         string   `json:"at"`
					Rent       *float64 `json:"rent"`
					Prediction float64  `json:"prediction"`
				}
				try, label, period := backtest.Try{}, math.NaN(), int64(backtest.Untimed)
				place := strings.Split(header[engine.HeaderSource], "/")
				if topic == "dlq" {
					try.Problem = &record.Problem{Stage: header["millrace.dlq.stage"], Class: header["millrace.dlq.class"]}
					place = []string{"", header["millrace.dlq.partition"], header["millrace.dlq.offset"]}
				}
				if json.Unmarshal(raw.Value, &value) == nil {
					if at, err := time.Parse(time.DateTime, value.At); err == nil {
						period = every.Window(at.UnixMicro())
					}
					if value.Rent != nil {
						label = *value.Rent
					}
					try.Prediction = value.Prediction
				}
				partition, err := strconv.Atoi(place[1])
				if err != nil {
					return fmt.Errorf("%s: source %v: %w", topic, place, err)
				}
				offset, err := strconv.ParseInt(place[2], 10, 64)
				if err != nil {
					return err
				}
				if !counts(int32(partition), offset) { //nolint:gosec // of three
					continue
				}
				if err := tally.Add(period, []backtest.Try{try}, label); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	out := &backtest.Report{Periods: []backtest.Period{}}
	tally.Into(out, every.Bounds)
	return out
}

// figures are the parts of a report that the records decide about, as JSON, in which NaN is equal to itself.
func figures(t *testing.T, r *backtest.Report) string {
	t.Helper()
	text, err := json.MarshalIndent([]any{r.Periods, r.Untimed, r.Total}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func periods(t *testing.T, r *backtest.Report) string {
	t.Helper()
	return figures(t, &backtest.Report{Periods: r.Periods})
}

// TestBacktestIsRun holds that a backtest of a topic has the figures of what run has written, bit for bit: with rows as of the time of
// each record, windows that know what was before the range, late records, and records without a prediction. What a table says
// of later times changes nothing.
func TestBacktestIsRun(t *testing.T) {
	t.Parallel()
	const seed, n = 20140502, 600
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	p := newReplayable(t, r)
	for i := range 20 {
		if i == 7 {
			continue // it has no row
		}
		city := fmt.Sprintf("c%d", i)
		p.send(t, "ref.cities", income(city, may(1, 0), 100+10*i), income(city, may(10+i%5, 13), 300-10*i))
	}
	var records []record.Raw
	for i := range n {
		at := may(2+i/30, 0).Add(time.Duration(r.IntN(36)) * time.Hour) // some come late
		city := fmt.Sprintf("c%d", r.IntN(20))
		var value string
		switch r.IntN(12) {
		case 0:
			value = `{"size":"much","city":"c1"}`
		case 1: // the label is not known
			value = fmt.Sprintf(`{"size":%d,"city":%q,"at":%q}`, 20+r.IntN(100), city, at.Format(time.DateTime))
		case 2: // no time
			value = fmt.Sprintf(`{"size":%d,"city":%q,"rent":%d}`, 20+r.IntN(100), city, 200+r.IntN(900))
		default:
			value = fmt.Sprintf(`{"size":%d,"city":%q,"at":%q,"rent":%d}`, 20+r.IntN(100), city, at.Format(time.DateTime), 200+r.IntN(900))
		}
		records = append(records, record.Raw{Key: []byte(city), Value: []byte(value), Timestamp: may(2, i/60).UnixMilli()})
	}
	p.send(t, "flats", records...)
	p.run(t, RunOptions{Model: "flats@1", StateDir: t.TempDir()}, n)

	options := BacktestOptions{File: p.file, Models: []string{"flats@1"}}
	want := figures(t, p.results(t, func(int32, int64) bool { return true }))
	all, err := p.app.Backtest(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, figures(t, all)); diff != "" {
		t.Errorf("run and backtest differ: %s", diff)
	}
	if c := all.Total.Results[0].Classes; all.Total.Records != n || all.Untimed == nil || c["enrich/no_row"] == 0 || c["decode/wrong_type"] == 0 {
		t.Errorf("the records are too tame: %+v", all.Total)
	}

	// A part of it, of which the windows know what was before.
	part := options
	part.From, part.To = "offset:0=70,1=60,2=50", "offset:0=110,1=100,2=90"
	want = figures(t, p.results(t, func(partition int32, offset int64) bool {
		from := int64(70 - 10*partition)
		return offset >= from && offset < from+40
	}))
	some, err := p.app.Backtest(t.Context(), part)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, figures(t, some)); diff != "" || some.Total.Records != 120 || some.Warmed != 180 {
		t.Errorf("part: %d records, %d before: %s", some.Total.Records, some.Warmed, diff)
	}

	// Times are those of messages.
	timed := options
	timed.From = "2014-05-02T05:00:00Z"
	late, err := p.app.Backtest(t.Context(), timed)
	if err != nil || late.Total.Records != n/2 {
		t.Errorf("from the middle: %v, %v", late, err)
	}

	p.later(t, options, all)
	p.sooner(t, options, all)
	p.beside(t, options, all)
}

// later has the table say something of times after all records. A record without a time asks for the latest row.
func (p *replayable) later(t *testing.T, o BacktestOptions, before *backtest.Report) {
	t.Helper()
	p.send(t, "ref.cities", income("c7", may(31, 0), 1), income("c3", may(31, 0), 1))
	again, err := p.app.Backtest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(periods(t, before), periods(t, again)); diff != "" {
		t.Errorf("rows of later were seen: %s", diff)
	}
	if len(again.Notes) != 1 || !strings.Contains(again.Notes[0], "the latest row") {
		t.Errorf("notes %q", again.Notes)
	}
}

// sooner has the table say something of the time of the records.
func (p *replayable) sooner(t *testing.T, o BacktestOptions, before *backtest.Report) {
	t.Helper()
	p.send(t, "ref.cities", income("c7", may(12, 0), 900))
	again, err := p.app.Backtest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if periods(t, before) == periods(t, again) {
		t.Error("a row of the time of the records was not seen")
	}
}

// beside has a second model tried with the first.
func (p *replayable) beside(t *testing.T, o BacktestOptions, all *backtest.Report) {
	t.Helper()
	var csv, page bytes.Buffer
	o.Models, o.CSV, o.Stdout = []string{"flats@1", "flats@2"}, "-", &csv
	both, err := p.app.Backtest(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	one := o
	one.Models, one.CSV, one.HTML, one.Stdout = []string{"flats@2"}, "", "-", &page
	second, err := p.app.Backtest(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	for i := range both.Periods {
		a, b, alone := both.Periods[i].Results[0], both.Periods[i].Results[1], second.Periods[i].Results[0]
		if d := both.Periods[i].Against[0]; d.Pairs != a.Scores.Rows || math.Abs(float64(b.Scores.RMSE-a.Scores.RMSE-d.RMSE.Value)) > 1e-9 {
			t.Errorf("period %d: %+v is no difference of %v and %v", i, d, a.Scores.RMSE, b.Scores.RMSE)
		}
		if b.Scores != alone.Scores {
			t.Errorf("period %d: beside another model %+v, alone %+v", i, b.Scores, alone.Scores)
		}
	}
	if n := strings.Count(csv.String(), "\n"); n != 1+2*(len(all.Periods)+2) || !strings.Contains(page.String(), "</svg>") {
		t.Errorf("%d lines of CSV, page of %d bytes", n, page.Len())
	}
}
