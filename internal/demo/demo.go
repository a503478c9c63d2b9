// Package demo is the whole journey in one command, for someone's first five minutes: it makes up house sales, trains
// on them, approves the model, streams unseen houses with some broken records among them through it, and checks
// every prediction against what predicting the same records from a file gives.
package demo

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"millrace.dev/gbm"
	"millrace.dev/internal/app"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/house"
	"millrace.dev/internal/registry"
)

// Options say how the demo is to go.
type Options struct {
	App      *app.App
	Dir      string        // the folder that it leaves; "" is millrace-demo, with a number if that is there
	Duration time.Duration // how long houses are streamed at Rate. Default: 10 s
	Rate     int           // houses a second. Default: 2000
	Data     string        // a CSV file of real sales instead of made-up ones, with the same columns
	Mock     int           // how many mock houses are streamed at the end. Default: 30,000
	Seed     uint64        // of the made-up sales and of the damage. Default: 1
	Show     Show
}

// Show is how the demo tells what it does. Every function has to be set.
type Show struct {
	Step    func(title string)               // a part begins
	Say     func(format string, args ...any) // a line about it; an int is for %v, so that it can be shown in groups
	Round   func(gbm.Round)                  // training goes on
	Trained func(*app.Trained)               // the model is there
	Live    func(Live)                       // the stream, about each second
}

// Live is what the stream has come to so far.
type Live struct {
	Elapsed              time.Duration
	Sent                 int64
	Predictions, Letters int64
	Mismatches           int64
	PerSecond            float64 // results since the last time
	P50, P99             time.Duration
}

// Result sums the demo up.
type Result struct {
	Records          int64    `json:"records"`
	Predictions      int64    `json:"predictions"`
	DeadLetters      int64    `json:"dead_letters"`
	Mismatches       int64    `json:"mismatches"`
	RecordsPerSecond float64  `json:"records_per_second"`
	Latency          Latency  `json:"latency_ms"`
	R2               *float64 `json:"r2"`         // null where the prices do not vary
	Ceiling          *float64 `json:"r2_ceiling"` // null for real data: nobody knows it
	Checks           Checks   `json:"checks"`
	Better           Better   `json:"better"`
	Dir              string   `json:"dir"`

	Classes map[string]int64 `json:"-"` // dead letters by class
	First   string           `json:"-"` // the first mismatch
}

// Latency is the time from a record's timestamp to the moment at which another program can read its prediction, in
// milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

const (
	topic       = "housing"
	predictions = "predictions"
	letters     = "housing.dlq"
	checks      = "housing.checks"
	zipcodes    = "reference.zipcodes"
	partitions  = 6
	history     = 20_000 // made-up sales to train on
	brokenShare = 0.02
	burstSize   = 60_000 // houses at least that are sent as fast as possible, the same ones over and over
	verifyAfter = 60 * time.Second
)

//go:embed pipeline.yaml
var pipelineFile string

// demo carries one run.
type demo struct {
	Options

	dir     string
	file    string
	data    string // as the pipeline file names it
	model   string
	set     []string
	sales   []house.Sale // that are streamed, by listing
	ceiling float64
	passes  int // how often the houses are sent once more, as fast as possible
}

// Run runs the demo. Where a prediction differs from what it should be, or one is missing, the result says so, and
// there is no error.
func Run(ctx context.Context, o Options) (*Result, error) {
	if o.Duration <= 0 {
		o.Duration = 10 * time.Second
	}
	if o.Rate <= 0 {
		o.Rate = 2000
	}
	if o.Mock <= 0 {
		o.Mock = 30_000
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	d := &demo{Options: o}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	o.Show.Step("a development broker")
	broker, err := devbroker.Start(ctx, devbroker.Options{Dir: filepath.Join(d.dir, "broker-data"), Addr: "127.0.0.1:0", Partitions: partitions, Logger: d.quiet(slog.LevelError).Log})
	if err != nil {
		return nil, err
	}
	defer broker.Close() //nolint:errcheck // what the demo shows was read back already
	o.Show.Say("listens on %s: one node, no replication, not for production", broker.Addr())
	for _, t := range []string{topic, predictions, letters, sold} {
		if err := broker.CreateTopic(t, partitions, nil); err != nil {
			return nil, err
		}
	}
	if err := broker.CreateTopic(checks, 1, nil); err != nil {
		return nil, err
	}
	d.set = []string{"kafka.brokers=" + broker.Addr()}
	if err := d.reference(ctx, broker); err != nil {
		return nil, err
	}
	if err := d.train(ctx); err != nil {
		return nil, err
	}
	if err := d.approve(ctx); err != nil {
		return nil, err
	}
	r, err := d.stream(ctx, broker.Addr())
	if err != nil {
		return nil, err
	}
	r.Dir = d.dir
	return r, nil
}

// prepare makes the folder with the pipeline file, the history and the houses to stream.
func (d *demo) prepare() error {
	if err := d.makeDir(); err != nil {
		return err
	}
	if err := d.makeSales(); err != nil {
		return errors.Join(err, removeEmpty(d.dir))
	}
	d.file = filepath.Join(d.dir, "pipeline.yaml")
	text := strings.Replace(pipelineFile, "DATA", strconv.Quote(d.data), 1)
	return os.WriteFile(d.file, []byte(text), 0o644)
}

// removeEmpty removes a folder unless there is something in it.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return err
	}
	return os.Remove(dir)
}

func (d *demo) makeDir() error {
	if d.Dir != "" {
		d.dir = d.Dir
		if entries, err := os.ReadDir(d.dir); err == nil && len(entries) > 0 {
			return &app.Error{Code: app.Usage, Op: "demo", Where: d.dir, Err: errors.New("the folder is not empty"), Hint: "name a folder that is empty or not there yet"}
		}
		return os.MkdirAll(d.dir, 0o755)
	}
	const name = "millrace-demo"
	d.dir = name
	for n := 2; ; n++ {
		err := os.Mkdir(d.dir, 0o755)
		if !os.IsExist(err) {
			return err
		}
		d.dir = name + "-" + strconv.Itoa(n)
	}
}

// makeSales makes the history and the houses that are streamed, which training does not see.
func (d *demo) makeSales() error {
	n := max(1, int(float64(d.Rate)*d.Duration.Seconds()))
	d.passes = (burstSize + n - 1) / n
	d.ceiling = math.NaN()
	if d.Data != "" {
		return d.realSales(n)
	}
	d.Show.Step("house sales")
	g, err := house.New(house.Options{Seed: d.Seed, History: history})
	if err != nil {
		return err
	}
	for i := range int64(n) {
		d.sales = append(d.sales, g.Sale(history+i))
	}
	d.ceiling = house.Ceiling(d.sales)
	d.data = "sales.csv"
	d.Show.Say("made up %v past sales and %v houses for sale (seed %v)", history, n, d.Seed)
	d.Show.Say("their prices are partly chance: the best R2 that any model can have is %.3f", d.ceiling)
	return os.WriteFile(filepath.Join(d.dir, d.data), g.CSV(history), 0o644)
}

func (d *demo) train(ctx context.Context) error {
	d.Show.Step("train")
	t, err := d.App.Train(ctx, app.TrainOptions{File: d.file, Set: d.set, By: "demo", Progress: d.Show.Round})
	if err != nil {
		return err
	}
	d.model = t.Model
	d.Show.Trained(t)
	return nil
}

func (d *demo) approve(ctx context.Context) error {
	d.Show.Step("approve")
	m, err := d.App.Models(app.ModelsOptions{File: d.file})
	if err != nil {
		return err
	}
	v, err := m.Registry.Approve(ctx, d.model, m.Name, registry.Decision{By: "demo", Reason: "this is the demo: nobody has looked at the model"})
	if err != nil {
		return err
	}
	d.Show.Say("%s is %s by %q, because:\n   %s", v.Ref(), v.State, v.DecidedBy, v.Reason)
	return nil
}

// quiet is the demo's own application with a log that shows nothing below a level: the live table shows the rest.
func (d *demo) quiet(level slog.Leveler) *app.App {
	a := *d.App
	a.Log = slog.New(levelHandler{d.App.Log.Handler(), level})
	return &a
}

// levelHandler drops what is below a level.
type levelHandler struct {
	slog.Handler

	level slog.Leveler
}

// Enabled implements [slog.Handler].
func (h levelHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= h.level.Level() && h.Handler.Enabled(ctx, l)
}

func (d *demo) path(name string) string { return filepath.Join(d.dir, name) }
