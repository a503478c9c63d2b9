package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"
	"millrace.dev/internal/app"
	"millrace.dev/internal/devbroker"
	"millrace.dev/internal/house"
	"millrace.dev/internal/registry"
	"millrace.dev/internal/registry/objects/fakes3"
	"millrace.dev/record"
)

// patience bounds every wait of a script, and look is how often a condition is looked at that cannot be waited for.
const (
	patience = 30 * time.Second
	look     = 10 * time.Millisecond
)

type stateKey struct{}

// state is what the commands of one script share.
type state struct {
	broker *devbroker.Broker
	termed []*exec.Cmd
}

func stateOf(ts *testscript.TestScript) *state {
	s, ok := ts.Value(stateKey{}).(*state)
	if !ok {
		ts.Fatalf("the script has no state")
	}
	return s
}

// want checks how a command is called; it cannot be negated.
func want(ts *testscript.TestScript, neg bool, args []string, least, most int) {
	if neg || len(args) < least || len(args) > most {
		ts.Fatalf("wrong use of a command: see TestScript")
	}
}

func integer(ts *testscript.TestScript, text string) int {
	n, err := strconv.Atoi(text)
	ts.Check(err)
	return n
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 100)
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if code := integer(ts, args[0]); got != code {
		ts.Fatalf("exit code %d, want %d", got, code)
	}
}

func term(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, 0)
	s := stateOf(ts)
	s.termed = ts.BackgroundCmds()
	if len(s.termed) == 0 {
		ts.Fatalf("no command runs in the background")
	}
	for _, cmd := range s.termed {
		ts.Check(cmd.Process.Signal(syscall.SIGTERM))
	}
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1)
	for _, cmd := range stateOf(ts).termed {
		if cmd.ProcessState == nil {
			ts.Fatalf("%s has not ended: wait for it first", cmd)
		}
		if got, code := cmd.ProcessState.ExitCode(), integer(ts, args[0]); got != code {
			ts.Fatalf("%s: exit code %d, want %d", cmd, got, code)
		}
	}
}

func houses(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3)
	ts.Check(writeHouses(ts.MkAbs(args[0]), integer(ts, args[1]), uint64(integer(ts, args[2]))))
}

// writeHouses writes sales in the form that the name says: .sold.jsonl has prices, other JSON has none.
func writeHouses(path string, n int, seed uint64) error {
	g, err := house.New(house.Options{Seed: seed})
	if err != nil {
		return err
	}
	var text []byte
	var rows []houseRow
	name, packed := strings.CutSuffix(path, ".gz")
	if filepath.Ext(name) == ".csv" {
		text = append(text, house.CSVHeader...)
	}
	for i := range int64(n) {
		s := g.Sale(i)
		switch {
		case filepath.Ext(name) == ".csv":
			text = s.AppendCSV(text)
		case filepath.Ext(name) == ".parquet":
			rows = append(rows, newHouseRow(&s))
		case strings.HasSuffix(name, ".sold.jsonl"):
			text = append(s.AppendJSON(text), '\n')
		default:
			text = append(s.AppendListing(text), '\n')
		}
	}
	if rows != nil {
		return parquet.WriteFile(path, rows)
	}
	if packed {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := w.Write(text); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		text = b.Bytes()
	}
	return os.WriteFile(path, text, 0o600)
}

// houseRow is a sale in a Parquet file.
type houseRow struct {
	Date         time.Time `parquet:"date,timestamp(millisecond)"`
	Price        float64   `parquet:"price"`
	Bedrooms     float64   `parquet:"bedrooms"`
	Bathrooms    float64   `parquet:"bathrooms"`
	SqftLiving   int32     `parquet:"sqft_living"`
	SqftLot      int32     `parquet:"sqft_lot"`
	Floors       float64   `parquet:"floors"`
	Waterfront   int32     `parquet:"waterfront"`
	View         int32     `parquet:"view"`
	Condition    int32     `parquet:"condition"`
	SqftAbove    int32     `parquet:"sqft_above"`
	SqftBasement int32     `parquet:"sqft_basement"`
	YrBuilt      int32     `parquet:"yr_built"`
	YrRenovated  int32     `parquet:"yr_renovated"`
	Street       string    `parquet:"street"`
	City         string    `parquet:"city,dict"`
	StateZip     string    `parquet:"statezip,dict"`
	Country      string    `parquet:"country,dict"`
}

func newHouseRow(s *house.Sale) houseRow {
	return houseRow{
		s.Date, s.Price, s.Bedrooms, s.Bathrooms, int32(s.SqftLiving), int32(s.SqftLot), s.Floors, int32(s.Waterfront), int32(s.View), int32(s.Condition),
		int32(s.SqftAbove), int32(s.SqftBasement), int32(s.YrBuilt), int32(s.YrRenovated), s.Street, s.City, s.StateZip, s.Country,
	}
}

// fixture is a project that was made once, for every script to copy.
type fixture struct{ dir string }

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{dir: filepath.Join(t.TempDir(), "houses")}
	if err := f.make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) make(ctx context.Context) error {
	data, file := filepath.Join(f.dir, "houses.csv"), filepath.Join(f.dir, "pipeline.yaml")
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		return err
	}
	if err := writeHouses(data, 300, 1); err != nil {
		return err
	}
	a := newApp()
	if _, err := a.Init(ctx, app.InitOptions{Dir: f.dir, From: data, Label: "price"}); err != nil {
		return err
	}
	if err := replaceText(file, "ntrees: 120", "ntrees: 15"); err != nil {
		return err
	}
	if _, err := a.Train(ctx, app.TrainOptions{File: file, By: "ada"}); err != nil {
		return err
	}
	m, err := a.Models(app.ModelsOptions{File: file})
	if err != nil {
		return err
	}
	_, err = m.Registry.Approve(ctx, "houses@1", "", registry.Decision{By: "grace", Reason: "good enough for a test"})
	return err
}

func newApp() *app.App {
	return &app.App{
		Log: slog.New(slog.DiscardHandler), Now: time.Now, Version: "test",
		Env: func(string) (string, bool) { return "", false },
	}
}

func (f *fixture) project(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1)
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), os.DirFS(f.dir)))
}

func broker(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, 1)
	o := devbroker.Options{Dir: ts.MkAbs(".broker"), Addr: "127.0.0.1:0", Partitions: 2}
	if len(args) > 0 {
		o.Addr = args[0]
	}
	b, err := devbroker.Start(context.Background(), o)
	ts.Check(err)
	ts.Defer(func() {
		if err := b.Close(); err != nil {
			ts.Logf("%v", err)
		}
	})
	stateOf(ts).broker = b
	ts.Setenv("KAFKA_BROKERS", b.Addr())
}

// bucket starts a server that speaks S3, with a bucket for a registry, and gives the script credentials for it.
func bucket(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 0, 0)
	s := fakes3.Start("models", fakes3.Options{})
	ts.Defer(s.Close)
	ts.Setenv("BUCKET", s.Location("team/a"))
	ts.Setenv("AWS_ACCESS_KEY_ID", "a-key")
	ts.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
}

func topic(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 2)
	ts.Check(stateOf(ts).broker.CreateTopic(args[0], integer(ts, args[1]), nil))
}

func await(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 2)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n, least := 0, integer(ts, args[1])
	o := app.TapOptions{Topic: args[0], Brokers: []string{ts.Getenv("KAFKA_BROKERS")}, Limit: int64(least)}
	err := until(ctx, func() error {
		n = 0
		return newApp().Tap(ctx, o, func(*record.Raw) error {
			n++
			return nil
		})
	})
	if err != nil || n < least {
		ts.Fatalf("topic %s holds %d records, want %d: %v", args[0], n, least, err)
	}
}

// until calls f until it does not fail, and returns its last error when ctx ends.
func until(ctx context.Context, f func() error) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return err
		}
	}
}

func answers(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 2)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(until(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], http.NoBody)
		if err != nil {
			return err
		}
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err == nil && !strings.Contains(string(body), args[1]) {
			err = fmt.Errorf("%s answers %s %q, want %q", args[0], r.Status, body, args[1])
		}
		return err
	}))
}

// post posts a file as JSON, when somebody answers, and writes what is answered to another.
func post(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(until(ctx, func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, args[0], strings.NewReader(ts.ReadFile(args[1])))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(r.Body)
		if err = errors.Join(err, r.Body.Close()); err != nil {
			return err
		}
		return os.WriteFile(ts.MkAbs(args[2]), body, 0o600)
	}))
}

func listens(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	o := app.TapOptions{Topic: "no-such-topic", Brokers: args, UntilEnd: true}
	ts.Check(until(ctx, func() error {
		err := newApp().Tap(ctx, o, func(*record.Raw) error { return nil })
		if c, _ := app.Explain(err); c == app.Usage {
			return nil // it knows that there is no such topic
		}
		return err
	}))
}

func holds(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 2, 2)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ts.Check(until(ctx, func() error {
		text, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && !strings.Contains(string(text), args[1]) {
			err = fmt.Errorf("%s does not hold %q", args[0], args[1])
		}
		return err
	}))
}

func freeport(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1)
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv(args[0], l.Addr().String())
	ts.Check(l.Close())
}

func flip(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 1, 1)
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text[len(text)/2] ^= 1
		return errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, text, 0o600))
	}))
}

func replace(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3)
	ts.Check(replaceText(ts.MkAbs(args[0]), args[1], args[2]))
}

func swap(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, neg, args, 3, 3)
	path := ts.MkAbs(args[0])
	text, err := os.ReadFile(path)
	ts.Check(err)
	ts.Check(os.WriteFile(path, []byte(strings.ReplaceAll(string(text), args[1], args[2])), 0o600))
}

// replaceText replaces a text that a file holds once.
func replaceText(path, from, to string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), from); n != 1 {
		return fmt.Errorf("%s holds %q %d times, want once", path, from, n)
	}
	return os.WriteFile(path, []byte(strings.Replace(string(text), from, to, 1)), 0o600)
}
