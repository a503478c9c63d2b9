package chart

import (
	"fmt"
	"html/template"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// examples are charts of ordinary values.
func examples() map[string]template.HTML {
	var curve, loss []Point
	for i := range 30 {
		x := float64(i)
		curve, loss = append(curve, Point{x, 190_000 + 300_000/(1+x)}), append(loss, Point{x, 150_000 + 330_000/(1+x)})
	}
	curve[7].Y = math.NaN()
	var bins []Bin
	for i, n := range []float64{3, 14, 30, 22, 9, 2} {
		bins = append(bins, Bin{float64(i) * 100_000, float64(i+1) * 100_000, []float64{n, float64(i * 5)}})
	}
	return map[string]template.HTML{
		"lines": (&Lines{
			Title: "Learning curve", Desc: "kept: 21 trees", X: Axis{Title: "trees", Whole: true}, Y: Axis{Title: "RMSE ($)"},
			Series: []Series{{"validation", curve}, {"train", loss}}, Mark: 21, MarkName: "kept: 21 trees",
		}).SVG(),
		"histogram":  (&Histogram{Title: "Prices", X: Axis{Title: "price ($)"}, Y: Axis{Title: "rows", Whole: true}, Bins: bins}).SVG(),
		"histograms": (&Histogram{Title: "Prices", X: Axis{Title: "price ($)"}, Y: Axis{Title: "rows"}, Names: []string{"training", "today"}, Bins: bins}).SVG(),
		"times": (&Histogram{Title: "Days", X: Axis{Title: "date (UTC)", Time: true}, Y: Axis{Title: "rows"}, Bins: []Bin{
			{1398988800, 1400988800, []float64{5}}, {1400988800, 1404950400, []float64{7}},
		}}).SVG(),
		"bars": (&Bars{Title: "Importance", Axis: Axis{Percent: true}, Rows: []Bar{
			{"statezip", []float64{0.53}}, {"sqft_living", []float64{0.32}}, {"a name that is longer than its room is", []float64{0.004}}, {"none", []float64{0}},
		}}).SVG(),
		"grid": (&Grid{
			Title: "Predictions and labels", X: Axis{Title: "prediction ($)"}, Y: Axis{Title: "label ($)"}, Edges: []float64{200_000, 400_000, 600_000},
			Counts: []int{4, 1, 0, 0, 2, 9, 1, 0, 0, 3, 5, 1, 0, 0, 2, 3}, Equal: "prediction = label", Unit: "rows",
		}).SVG(),
		"spans": (&Spans{
			Title: "Errors by prediction", X: Axis{Title: "prediction ($)"}, Y: Axis{Title: "error ($)"}, RangeName: "80% of the errors", MeanName: "mean error",
			Groups: []Span{{200_000, -30_000, 0, 40_000, 2_000}, {500_000, -90_000, -5_000, 60_000, -10_000}},
		}).SVG(),
		"spark": Spark([]float64{1, 5, 3, 0, 2}, []float64{2, 2, 2, 2, 2}),
	}
}

// TestGolden compares charts with those of testdata; MILLRACE_UPDATE=1 writes these.
func TestGolden(t *testing.T) {
	t.Parallel()
	for name, svg := range examples() {
		checkPicture(t, svg)
		path := filepath.Join("testdata", name+".svg")
		if os.Getenv("MILLRACE_UPDATE") != "" {
			if err := os.WriteFile(path, []byte(svg), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.ReplaceAll(string(want), "><", ">\n<"), strings.ReplaceAll(string(svg), "><", ">\n<")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestZero looks for 0 on an axis whose values are far from it.
func TestZero(t *testing.T) {
	t.Parallel()
	for _, zero := range []bool{false, true} {
		svg := (&Lines{Title: "memory", Y: Axis{Title: "MiB", Zero: zero}, Series: []Series{{"measured", []Point{{5, 290}, {6, 300}}}}}).SVG()
		checkPicture(t, svg)
		if got := strings.Contains(string(svg), ">0<"); got != zero {
			t.Errorf("Zero %t: 0 on the axis: %t", zero, got)
		}
	}
}

func TestTicks(t *testing.T) {
	t.Parallel()
	const day = 86400
	for _, tc := range []struct {
		axis      Axis
		low, high float64
		n         int
		want      string
	}{
		{Axis{}, 0, 1_000_000, 4, "0 0.5M 1.0M"},
		{Axis{}, 0, 900_000, 4, "0 500k"},
		{Axis{}, 120_000, 450_000, 5, "200k 300k 400k"},
		{Axis{}, 1900, 2014, 4, "1900 1950 2000"},
		{Axis{}, -0.02, 0.02, 4, "-0.02 -0.01 0 0.01 0.02"},
		{Axis{}, 0, 1e-9, 2, "0 5.0e-10 1.0e-09"},
		{Axis{}, 0, 3e20, 3, "0 1e+20 2e+20 3e+20"},
		{Axis{}, 0, 9_999_999, 2, "0 5M"},
		{Axis{Whole: true}, 0, 3, 6, "0 1 2 3"},
		{Axis{Percent: true}, 0, 0.2, 4, "0% 5% 10% 15% 20%"},
		{Axis{Percent: true}, 0, 0.0002, 2, "0% 0.01% 0.02%"},
		{Axis{Time: true}, 1398988800, 1404950400, 3, "2014-06 2014-07"},
		{Axis{Time: true}, 1398988800, 1398988800 + 3*day, 4, "2014-05-02 2014-05-03 2014-05-04 2014-05-05"},
		{Axis{Time: true}, 1398988800, 1398988800 + 7200, 3, "2014-05-02 00:00|01:00|02:00"},
		{Axis{Time: true}, -2208988800, 1404950400, 3, "1900 1950 2000"},
		{Axis{Time: true}, 0, 1e13, 2, "0 5T 10T"},
	} {
		var texts []string
		for _, tick := range tc.axis.ticks(span{tc.low, tc.high}, tc.n) {
			texts = append(texts, tick.text)
			if s := (span{tc.low, tc.high}).share(tick.at); s < -1e-9 || s > 1+1e-9 {
				t.Errorf("%v to %v: a tick at %v", tc.low, tc.high, tick.at)
			}
		}
		sep := " "
		if strings.Contains(tc.want, "|") {
			sep = "|"
		}
		if got := strings.Join(texts, sep); got != tc.want {
			t.Errorf("%+v, %v to %v, %d ticks: %q, want %q", tc.axis, tc.low, tc.high, tc.n, got, tc.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		x             float64
		short, number string
	}{
		{0, "0", "0"},
		{2014, "2014", "2,014"},
		{9999.4, "9999", "9,999"},
		{12_345, "12.3k", "12,345"},
		{999_499, "999k", "999,499"},
		{999_999, "1M", "999,999"},
		{-26_590_000, "-26.6M", "-26,590,000"},
		{1.5e12, "1.5T", "1,500,000,000,000"},
		{0.031234, "0.03123", "0.031234"},
		{1e-300, "1e-300", "1e-300"},
		{-1e300, "-1e+300", "-1e+300"},
		{math.NaN(), "-", "-"},
		{999.9999, "1000", "1000"},
	} {
		if got := Short(tc.x); got != tc.short {
			t.Errorf("short %v: %q, want %q", tc.x, got, tc.short)
		}
		if got := Number(tc.x); got != tc.number {
			t.Errorf("number %v: %q, want %q", tc.x, got, tc.number)
		}
	}
	for x, want := range map[float64]string{0: "0%", 1: "100.0%", 0.00001: "<0.01%", 0.0012: "0.12%", 0.9999999: ">99.99%", 17.44: "1744.0%", -0.25: "-25.0%"} {
		if got := Percent(x); got != want {
			t.Errorf("percent %v: %q, want %q", x, got, want)
		}
	}
}

func TestShorten(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"ab cd", 4, "ab…"}, {"日本語の", 2, "日…"}, {"ab", 1, "…"}, {"", 1, ""}} {
		if got := Shorten(tc.in, tc.n); got != tc.want {
			t.Errorf("%q in %d: %q, want %q", tc.in, tc.n, got, tc.want)
		}
	}
	for _, s := range hostileNames() {
		for w := range 30 {
			if got := cut(OneLine(s), float64(w)); width(got) > float64(w) {
				t.Errorf("%q in %d: %q has %v", s, w, got, width(got))
			}
		}
	}
}

func TestBlocks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		values []float64
		n      int
		want   string
	}{
		{nil, 4, ""},
		{[]float64{0, 1, 2, 4, 8}, 8, " ▂▃▅█"},
		{[]float64{1, 1, 8, 8}, 2, "▂█"},
		{[]float64{0.001, 1}, 2, "▁█"},
		{[]float64{math.NaN(), math.Inf(1)}, 2, "  "},
		{[]float64{1e308, 1e-308}, 2, "█▁"},
	} {
		if got := Blocks(tc.values, tc.n); got != tc.want {
			t.Errorf("%v in %d: %q, want %q", tc.values, tc.n, got, tc.want)
		}
	}
}

// TestContrast holds colours to the Web Content Accessibility Guidelines 2.1: a contrast of 4.5 for texts, 3 for graphics.
func TestContrast(t *testing.T) {
	t.Parallel()
	blocks := strings.SplitN(style, "@media", 2)
	for i, block := range []string{blocks[0], strings.SplitN(blocks[1], "}", 2)[0]} {
		colours := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z]+): #([0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, c := range []struct {
			name string
			want float64
		}{{"ink", 4.5}, {"soft", 4.5}, {"a", 4.5}, {"b", 4.5}, {"c", 4.5}, {"mark", 3}, {"axis", 3}} {
			for _, ground := range []string{"paper", "card"} {
				x, y := colours[c.name], colours[ground]
				if got := (max(x, y) + 0.05) / (min(x, y) + 0.05); got < c.want {
					t.Errorf("scheme %d: --%s on --%s has a contrast of %.2f, want %v", i, c.name, ground, got, c.want)
				}
			}
		}
		if len(colours) != 10 {
			t.Errorf("scheme %d: %d colours", i, len(colours))
		}
	}
}

// luminance returns the relative luminance of a colour.
func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.03928 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return sum
}

// TestStyleCoversClasses wants a rule for each class that charts use.
func TestStyleCoversClasses(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, svg := range examples() {
		for _, m := range regexp.MustCompile(`class="([^"]*)"`).FindAllStringSubmatch(string(svg), -1) {
			for class := range strings.FieldsSeq(m[1]) {
				used[class] = true
			}
		}
	}
	for class := range used {
		if !strings.Contains(style, "."+class+" ") && !strings.Contains(style, "."+class+".") {
			t.Errorf("no rule for the class %s", class)
		}
	}
	if len(used) < 10 || !slices.Contains([]bool{used["chart"], used["spark"]}, true) {
		t.Errorf("classes %s", fmt.Sprint(used))
	}
}
