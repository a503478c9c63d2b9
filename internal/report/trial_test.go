package report

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"millrace.dev/internal/experiment"
	"millrace.dev/internal/outcome"
	"millrace.dev/internal/rollout"
	"millrace.dev/internal/trial"
)

// tried returns a made-up experiment of three weeks, as the reports of tests have it: new is better, and bold is worse.
func tried(t *testing.T, change func(*trial.Setup, *trial.Seen)) *trial.Report {
	t.Helper()
	start := time.Date(2026, 3, 2, 8, 30, 0, 0, time.UTC)
	s := &trial.Setup{
		Pipeline: "houses", Group: "houses", Topic: "housing.predictions", Experiment: "pricing", Running: true, Since: start, By: rollout.ByKey,
		Arms: []trial.Arm{
			{Name: "control", Model: "houses@1", Digest: "sha256:1", Share: 0.5},
			{Name: "new", Model: "houses@2", Digest: "sha256:2", Share: 0.3},
			{Name: "bold", Model: "houses@3", Digest: "sha256:3", Share: 0.2},
		},
		Metrics: []string{"squared_error", "absolute_error"}, Wait: 10 * 24 * time.Hour,
		Judging: trial.Judging{Test: experiment.Sequential, Alpha: 0.05, Correction: experiment.Holm, MinUnits: 100, Units: 5000, Margin: 0.01},
		Audit: []trial.Entry{
			{At: start, Actor: "Ada", Words: "new, houses@2, started: 30.0% of the records, beside houses@1", Reason: "better on the test part"},
			{At: start, Actor: "Ada", Words: "bold, houses@3, started: 20.0% of the records, beside houses@1", Reason: "better on the test part"},
		},
	}
	r := rand.New(rand.NewPCG(4, 4))
	seen := &trial.Seen{}
	for d := range 21 {
		for i := range s.Arms {
			seen.Cohorts = append(seen.Cohorts, dayOf(t, r, s, d, i))
		}
	}
	one := &rollout.Status{Instance: "one"}
	for i := range s.Arms {
		a := rollout.ArmStatus{Experiment: s.Experiment, Arm: s.Arms[i].Name, Model: s.Arms[i].Model, Records: 4000, Refused: 80}
		if i > 0 {
			a.Seconds = &experiment.Cross{}
			for k := range 400 {
				if err := a.Seconds.Add(1e-4*(1+float64(i)/5+float64(k%7)/20), 1e-4*(1+float64(k%5)/20), 10); err != nil {
					t.Fatal(err)
				}
			}
		}
		one.Arms = append(one.Arms, a)
	}
	seen.Statuses = []*rollout.Status{one}
	if change != nil {
		change(s, seen)
	}
	out, err := trial.Judge(s, seen, time.Date(2026, 3, 23, 0, 10, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// dayOf makes up what an arm does on a day.
func dayOf(t *testing.T, r *rand.Rand, s *trial.Setup, d, arm int) *outcome.Cohort {
	t.Helper()
	day := time.Date(2026, 3, 2+d, 0, 0, 0, 0, time.UTC)
	c := &outcome.Cohort{
		Version: 1, Pipeline: "houses", Delays: make([]int64, len(outcome.DelayBounds())+1), Metrics: map[string]*experiment.Cross{"squared_error": {}, "absolute_error": {}},
		Group: outcome.Group{Topic: s.Topic, Experiment: s.Experiment, Arm: s.Arms[arm].Name, Model: s.Arms[arm].Model, Day: day.Format(time.DateOnly)},
	}
	for range int(400 * s.Arms[arm].Share) {
		c.Units++
		c.Records++
		took := time.Duration(r.ExpFloat64() * float64(60*time.Hour))
		base := 90_000 * r.NormFloat64()
		own := base
		if arm > 0 {
			own = []float64{1, 0.92, 1.1}[arm] * (0.95*base + 25_000*r.NormFloat64())
		}
		switch {
		case took < 9*24*time.Hour && time.Duration(21-d)*24*time.Hour > took:
			c.Resolved++
			k := 0
			for k < len(outcome.DelayBounds()) && took.Milliseconds() > outcome.DelayBounds()[k] {
				k++
			}
			c.Delays[k]++
			for name, l := range map[string][2]float64{"squared_error": {own * own, base * base}, "absolute_error": {math.Abs(own), math.Abs(base)}} {
				if err := c.Metrics[name].Add(l[0], l[1], 1); err != nil {
					t.Fatal(err)
				}
			}
		case d < 12:
			c.Expired++
		}
	}
	return c
}

func TestTrialText(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*trial.Setup, *trial.Seen){
		"trial.txt": nil,
		"trial_broken.txt": func(s *trial.Setup, seen *trial.Seen) {
			s.Test, s.Units = experiment.Fixed, 100_000
			for _, c := range seen.Cohorts {
				if c.Arm == "new" {
					c.Units += 60
				}
			}
			other := *seen.Cohorts[1]
			other.Model, other.Metrics = "houses@1", nil
			seen.Cohorts = append(seen.Cohorts, &other)
		},
		"trial_empty.txt": func(s *trial.Setup, seen *trial.Seen) {
			s.Running, s.Since, s.Metrics, *seen = false, time.Time{}, nil, trial.Seen{}
		},
	} {
		var b bytes.Buffer
		if err := TrialText(&b, tried(t, change)); err != nil {
			t.Fatal(err)
		}
		checkText(t, b.String())
		golden(t, name, b.Bytes())
	}
	guide, err := os.ReadFile("../../docs/ab.md")
	if err != nil {
		t.Fatal(err)
	}
	shown, err := os.ReadFile("testdata/trial.txt")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(guide), "```\n"+string(shown)+"```\n") {
		t.Error("docs/ab.md does not show what testdata/trial.txt has")
	}
}

func TestTrialPage(t *testing.T) {
	t.Parallel()
	r := tried(t, nil)
	var b bytes.Buffer
	if err := Trial(&b, r); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	checkPage(t, page)
	golden(t, "trial_main.html", b.Bytes()[strings.Index(page, "<main>"):])
	// The JSON of a report has all that its page shows: e2e/picture looks at that one.
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	kept := filepath.Join("testdata", "trial.json")
	if os.Getenv("MILLRACE_UPDATE") != "" {
		if err := os.WriteFile(kept, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err = os.ReadFile(kept); err != nil { // the last digits of its numbers depend on the machine
		t.Fatal(err)
	}
	var read trial.Report
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := Trial(&again, &read); err != nil || again.String() != page {
		t.Errorf("%v: the page of what was read differs", err)
	}
	for _, want := range []string{"stop for new", "Day by day", "Who decided what", "class=\"state approved\"", "better on the test part"} {
		want = strings.ReplaceAll(want, "stop", "Stop")
		if !strings.Contains(page, want) {
			t.Errorf("the page does not have %q", want)
		}
	}
}

// TestHostileTrials writes pages of names and numbers that somebody made up to do harm.
func TestHostileTrials(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"<script>alert(1)</script>", "<b>bold", "\x1b[31m\u202e", strings.Repeat("long ", 200), "\"'&"} {
		r := tried(t, func(s *trial.Setup, seen *trial.Seen) {
			for i := range s.Arms {
				s.Arms[i].Name, s.Arms[i].Model = name+s.Arms[i].Name, name+s.Arms[i].Model
			}
			for _, c := range seen.Cohorts {
				c.Arm, c.Model = name+c.Arm, name+c.Model
			}
			s.Experiment, s.Pipeline, s.Group, seen.Cohorts[0].Experiment = "pricing", name, name, "pricing"
			s.Audit[0].Actor, s.Audit[0].Reason, s.Audit[0].Words = name, name, name
			seen.Notes = []trial.Warning{{Kind: name, Words: name + "!"}}
		})
		for i := range r.Comparisons {
			r.Comparisons[i].Difference.Low = math.Inf(-1)
			r.Comparisons[i].Relative.Value = math.NaN()
		}
		r.Arms[0].Name, r.Comparisons[0].Arm, r.Experiment = name, name, name
		var page, text bytes.Buffer
		if err := Trial(&page, r); err != nil {
			t.Fatal(err)
		}
		checkPage(t, page.String())
		if err := TrialText(&text, r); err != nil {
			t.Fatal(err)
		}
		if strings.ContainsAny(text.String(), "\x1b\u202e") {
			t.Errorf("the text obeys %q", name)
		}
	}
}

// TestTrialBegins: what is said of the first day, when intervals are open to a side.
func TestTrialBegins(t *testing.T) {
	t.Parallel()
	r := tried(t, func(s *trial.Setup, seen *trial.Seen) {
		s.Since = time.Date(2026, 3, 22, 1, 0, 0, 0, time.UTC)
		seen.Cohorts = seen.Cohorts[len(seen.Cohorts)-len(s.Arms):]
	})
	for i := range r.Comparisons {
		r.Comparisons[i].RMSE, r.Comparisons[i].Relative = nil, experiment.Interval{Value: -0.5, Low: math.Inf(-1), High: 0.25}
	}
	r.Scoring[0].Ratio = experiment.Interval{Value: 0.5, Low: math.Inf(-1), High: math.Inf(1)}
	r.Scoring[1].Ratio = experiment.Interval{Value: 0.5, Low: -1, High: 0.75}
	var b bytes.Buffer
	if err := TrialText(&b, r); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(b.String()), " ")
	for _, want := range []string{"of the one day", "0 of 1 day is mature", "the predictions are of 1 day", "-50% up to +25%", "(too few, or too uneven, to say more)", "(up to +75%)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q:\n%s", want, b.String())
		}
	}
}

func TestPlanText(t *testing.T) {
	t.Parallel()
	p := &trial.Planning{
		Metric: "squared_error", Arms: []trial.Arm{{Name: "control", Share: 0.9}, {Name: "new", Share: 0.1}}, Comparisons: 2, Effect: 0.02, Power: 0.8,
		Judging: trial.Judging{Test: experiment.Sequential, Alpha: 0.05}, Mean: 8.1e9, Deviation: 1.2e10, Correlation: 0.95, PerDay: 800,
		Labels: trial.Labels{Share: 0.9, Horizon: 30},
	}
	plan, err := p.Plan()
	if err != nil {
		t.Fatal(err)
	}
	plan.Known = map[string]string{"mean": "the experiment pricing", "rate": "the command line", "deviation": "the experiment pricing"}
	var b bytes.Buffer
	if err := PlanText(&b, plan); err != nil {
		t.Fatal(err)
	}
	checkText(t, b.String())
	golden(t, "plan.txt", b.Bytes())
}
