package picture

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/app"
	"millrace.dev/internal/report"
	"millrace.dev/internal/testenv"
	"millrace.dev/internal/trial"
	"millrace.dev/profile"
)

// picturesEnv names the folder that pictures are kept in. Default: none, they are not kept.
const picturesEnv = "MILLRACE_PICTURES"

//go:embed faults.js
var faults string

// look opens a page in every way that people do, and wants no faults.
func look(t *testing.T, name string, html []byte) {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".html")
	if err := os.WriteFile(path, html, 0o600); err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	printed(t, b, name, path)
	for _, width := range []int{1280, 820, 390, 320} {
		for _, scheme := range []string{"light", "dark"} {
			b.open(path, width, scheme)
			for _, unfolded := range []bool{false, true} {
				var n int
				b.eval(fmt.Sprintf("[...document.querySelectorAll('details')].map(d => d.open = %v).length", unfolded), &n)
				b.settle()
				var found []fault
				b.eval(faults, &found)
				for _, f := range found {
					t.Errorf("%s, %d pixels wide, %s, unfolded %v: %v", name, width, scheme, unfolded, f)
				}
				keep(t, fmt.Sprintf("%s-%d-%s%s.png", name, width, scheme, map[bool]string{true: "-unfolded"}[unfolded]), b, width)
			}
		}
	}
}

// printed wants everything on paper, which nobody can unfold.
func printed(t *testing.T, b *browser, name, path string) {
	t.Helper()
	b.open(path, 794, "light") // A4
	b.emulate("print", "light")
	b.settle()
	var hidden int
	b.eval(`[...document.querySelectorAll("details > .grid")].filter(e => !e.checkVisibility({ contentVisibilityAuto: true }) || e.getBoundingClientRect().height < 20).length`, &hidden)
	if hidden > 0 {
		t.Errorf("%s: %d columns are not unfolded on paper", name, hidden)
	}
	var found []fault
	b.eval(faults, &found)
	for _, f := range found {
		t.Errorf("%s, printed: %v", name, f)
	}
	keep(t, name+"-print.png", b, 794)
}

// keep writes a picture where somebody wants to look at it.
func keep(t *testing.T, name string, b *browser, width int) {
	t.Helper()
	dir := os.Getenv(picturesEnv)
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), b.screenshot(width), 0o644); err != nil {
		t.Fatal(err)
	}
}

// reported trains a model on a CSV file, as a person would, and returns the page about it.
func reported(t *testing.T, data, label string, set ...string) []byte {
	t.Helper()
	a := &app.App{
		Log: slog.New(slog.DiscardHandler), Env: func(string) (string, bool) { return "", false }, Version: "test",
		Now: func() time.Time { return time.Date(2014, 7, 10, 2, 0, 0, 0, time.UTC) },
	}
	dir := t.TempDir()
	made, err := a.Init(t.Context(), app.InitOptions{Dir: dir, From: data, Label: label, Name: "houses"})
	if err != nil {
		t.Fatal(err)
	}
	models := filepath.Join(dir, "models")
	trained, err := a.Train(t.Context(), app.TrainOptions{File: made.File, Set: append(set, "model.registry="+models), By: "ada", RunID: "nightly-7"})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := a.Report(t.Context(), app.ReportOptions{Model: trained.Model, Registry: models, HTML: true, Out: "-", Stdout: &b}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestModel(t *testing.T) {
	look(t, "model", reported(t, filepath.Join(testenv.Data(t), "housedata.csv"), "price", "train.label_unit=$"))
}

// TestHostileModel has columns and levels whose names are as bad as names can be.
func TestHostileModel(t *testing.T) {
	names := []string{
		"rent", strings.Repeat("a_very_long_name_", 12), "</script><script>document.title=1</script>", strings.Repeat("W", 190), "日本語の長い列名がここに入りますとても長い名前です", "x",
	}
	var csv strings.Builder
	csv.WriteString(strings.Join(names, ",") + "\n")
	for i := range 300 {
		level := []string{"<b>bold</b>", strings.Repeat("level ", 40), "\u202eevil", "ordinary"}[i%4]
		fmt.Fprintf(&csv, "%v,%v,%s,%v,%d,%v\n", float64(i*i)*1e9, math.Exp(float64(i%60))*1e-9, level, -i, i%3, 1e-30*float64(i%7))
	}
	path := filepath.Join(t.TempDir(), "rents.csv")
	if err := os.WriteFile(path, []byte(csv.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	page := reported(t, path, "rent", "train.gbm.ntrees=3")
	if s := string(page); strings.Contains(s, "<script") || strings.Contains(s, "<b>bold") || strings.Contains(s, "\u202e") {
		t.Error("the page holds what the data says as it is")
	}
	look(t, "hostile", page)
}

// shifted returns a profile whose columns of numbers lie elsewhere by a part of their bins.
func shifted(p *profile.Profile, by int) *profile.Profile {
	out := &profile.Profile{Rows: p.Rows}
	for _, c := range p.Columns {
		counts := make([]uint64, len(c.Counts))
		for i, n := range c.Counts {
			counts[min(i+by, len(counts)-1)] += n
		}
		c.Counts = counts
		c.Distinct = 0
		out.Columns = append(out.Columns, c)
	}
	return out
}

func houses() *profile.Profile {
	p := &profile.Profile{Rows: 1000}
	long := profile.Column{Name: "sqft_living", Role: profile.Field, Kind: profile.Number, Rows: 1000, Missing: 12, Min: 370, Max: 13540, Mean: 2132, Deviation: 957, Distinct: 558}
	for i := range 40 {
		x := float64(i) / 40
		long.Edges = append(long.Edges, 370+13170*x*x)
		long.Counts = append(long.Counts, uint64(i%7)*4+10)
	}
	long.Counts = append(long.Counts, 5)
	few := profile.Column{Name: "floors", Role: profile.Field, Kind: profile.Number, Rows: 1000, Min: 1, Max: 3.5, Mean: 1.5, Edges: []float64{1, 1.5, 2, 2.5, 3, 3.5}, Counts: []uint64{500, 100, 300, 50, 49, 1, 0}, Distinct: 6}
	day := profile.Column{Name: "date", Role: profile.Field, Kind: profile.Time, Rows: 1000, Min: 1398988800, Max: 1404950400, Mean: 1402000000, Distinct: 70}
	for i := range 70 {
		day.Edges = append(day.Edges, 1398988800+86400*float64(i))
		day.Counts = append(day.Counts, uint64(10+i%5))
	}
	day.Counts = append(day.Counts, 0)
	city := profile.Column{Name: "city", Role: profile.Field, Kind: profile.Level, Rows: 1000, Levels: []string{"Seattle", "Renton", "", strings.Repeat("long city ", 30)}, Counts: []uint64{600, 200, 100, 90, 10}, Distinct: 4}
	street := profile.Column{Name: strings.Repeat("street", 30), Role: profile.Field, Kind: profile.Text, Rows: 1000, Distinct: 998, Top: []profile.Frequent{{Text: "2520 Mulberry Walk NE", N: 4}}}
	none := profile.Column{Name: "nothing", Role: profile.Feature, Kind: profile.Number, Rows: 1000, Missing: 1000, Min: math.NaN(), Max: math.NaN(), Mean: math.NaN(), Deviation: math.NaN(), Counts: []uint64{0}}
	p.Columns = []profile.Column{long, few, day, city, street, none}
	return p
}

func TestProfile(t *testing.T) {
	var b bytes.Buffer
	if err := report.Profile(&b, houses(), "houses.csv", nil); err != nil {
		t.Fatal(err)
	}
	look(t, "profile", b.Bytes())
}

func TestDiff(t *testing.T) {
	var b bytes.Buffer
	p := houses()
	notes := map[string][]string{"floors": {"PSI 0.31, above 0.25: fail", "KS 0.2, p < 0.001"}}
	if err := report.Diff(io.Writer(&b), report.Side{Name: "training of houses@3", Profile: p}, report.Side{Name: "house-sales of today", Profile: shifted(p, 3)}, notes, nil); err != nil {
		t.Fatal(err)
	}
	look(t, "diff", b.Bytes())
}

// TestBacktest has three models over the weeks of real sales, and one over periods that are hardly told apart.
func TestBacktest(t *testing.T) {
	if testing.Short() {
		t.Skip("the browser is a program of its own, and the tests of the packages train enough under the race detector")
	}
	a := &app.App{Log: slog.New(slog.DiscardHandler), Env: func(string) (string, bool) { return "", false }, Version: "test", Now: time.Now}
	dir, data := t.TempDir(), filepath.Join(testenv.Data(t), "housedata.csv")
	made, err := a.Init(t.Context(), app.InitOptions{Dir: dir, From: data, Label: "price", Name: "houses"})
	if err != nil {
		t.Fatal(err)
	}
	set := []string{"model.registry=" + filepath.Join(dir, "models"), "source.event_time=date", "train.label_unit=$"}
	var models []string
	for _, trees := range []string{"10", "30", "60"} {
		trained, err := a.Train(t.Context(), app.TrainOptions{File: made.File, Set: append(set, "train.gbm.ntrees="+trees), By: "ada"})
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, trained.Model)
	}
	for name, o := range map[string]app.BacktestOptions{"backtest": {Models: models, Every: "7d"}, "backtest-records": {Models: models[:1], Every: "100"}} {
		var b bytes.Buffer
		o.File, o.Set, o.Data, o.HTML, o.Stdout = made.File, set, data, "-", &b
		if _, err := a.Backtest(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		look(t, name, b.Bytes())
	}
}

// TestTrial looks at the page of an experiment that the tests of package report make up.
func TestTrial(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.FromSlash("../../internal/report/testdata/trial.json"))
	if err != nil {
		t.Fatal(err)
	}
	var r trial.Report
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	var page bytes.Buffer
	if err := report.Trial(&page, &r); err != nil {
		t.Fatal(err)
	}
	look(t, "trial", page.Bytes())
}
