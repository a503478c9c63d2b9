package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"millrace.dev/profile"
)

//go:embed peer.py
var peer string

const (
	references = 5    // that the windows of a row of the table share
	powerRate  = 0.05 // declared
	number     = "sqft_living"
	level      = "city"
)

// scenario changes rows.
type scenario struct {
	name   string
	column string // that drifts; "" for none
	change func(rng *rand.Rand, row []any)
}

// method judges windows of a reference: it returns the columns that have drifted.
type method struct {
	name  string
	rules profile.Rules
}

func methods(columns []string) []method {
	calibrated := func(metric string) profile.Rules {
		return profile.Rules{MinRows: 1, FalseAlarms: powerRate, Columns: columns, Drift: profile.DriftRule{Metric: metric}}
	}
	list := []method{{"millrace", calibrated("")}}
	for _, m := range []string{"chi_square", "psi", "js", "l_infinity", "wasserstein", "energy"} {
		list = append(list, method{m, calibrated(m)})
	}
	fixed := profile.Rules{MinRows: 1, Columns: columns, FalseAlarms: 1e-9, Drift: profile.DriftRule{Metric: "psi", Fail: 0.25}}
	return append(list, method{"psi 0.25", fixed})
}

func scenarios(d *data) []scenario {
	list := []scenario{{name: "no drift"}}
	k, deviation := d.column(number), d.deviation(d.column(number))
	for _, by := range []float64{0.1, 0.25, 0.5} {
		list = append(list, scenario{fmt.Sprintf("%s by %.2f deviations", number, by), number, func(_ *rand.Rand, row []any) {
			x, _ := row[k].(float64)
			row[k] = x + by*deviation
		}})
	}
	lot := d.column("sqft_lot") // which has a heavy tail
	list = append(list, scenario{"sqft_lot times 1.2", "sqft_lot", func(_ *rand.Rand, row []any) {
		x, _ := row[lot].(float64)
		row[lot] = 1.2 * x
	}})
	c := d.column(level)
	for _, part := range []float64{0.1, 0.2} {
		list = append(list, scenario{fmt.Sprintf("%.0f %% of %s become Kent", 100*part, level), level, func(rng *rand.Rand, row []any) {
			if rng.Float64() < part {
				row[c] = "Kent"
			}
		}})
	}
	return list
}

// power counts in how many windows the column that drifts is found, and in how many one that does not.
func power(ctx context.Context, d *data, o *options, out, messages io.Writer) error {
	dir, err := os.MkdirTemp("", "drift")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // what is left over lies in the folder for such things
	var refs []group
	profiles := make([]*profile.Profile, references)
	for i := range profiles {
		rng := rand.New(rand.NewPCG(77, uint64(i))) //nolint:gosec // positive, and no secret
		refs = append(refs, group{i, d.draw(rng, len(d.rows))})
		profiles[i] = d.reference(refs[i].rows)
	}
	if err := d.write(filepath.Join(dir, "references.csv"), refs); err != nil {
		return err
	}
	columns := slices.DeleteFunc(slices.Clone(d.names), func(s string) bool { return s == "date" || s == "street" })
	ms := methods(columns)
	judges, err := newJudges(profiles, ms)
	if err != nil {
		return err
	}
	tables := newTables(ms, o.python != "")
	for _, s := range scenarios(d) {
		for _, n := range []int{50, 200, 1000} {
			groups := s.windows(d, n, o.beside)
			found, err := judges.found(ctx, d, groups)
			if err != nil {
				return err
			}
			if o.python != "" {
				theirs, err := evidently(ctx, d, o.python, dir, columns, groups)
				if err != nil {
					return err
				}
				found = append(found, theirs)
			}
			tables.add(&s, n, found)
			progress(messages, "%s, %d rows: done", s.name, n)
		}
	}
	return tables.write(out)
}

// windows draws windows and changes their rows.
func (s *scenario) windows(d *data, n, windows int) []group {
	groups := make([]group, windows)
	for w := range groups {
		rng := rand.New(rand.NewPCG(uint64(n)+1e6, uint64(w))) //nolint:gosec // positive, and no secret
		groups[w] = group{w % references, d.draw(rng, n)}
		for i, row := range groups[w].rows {
			if s.change != nil {
				groups[w].rows[i] = slices.Clone(row)
				s.change(rng, groups[w].rows[i])
			}
		}
	}
	return groups
}

// tables say how often the column that drifts is found, and how often another one.
type tables [2]struct {
	text strings.Builder
	rows *tabwriter.Writer
}

func (t *tables) put(i int, format string, args ...any) {
	fmt.Fprintf(t[i].rows, format, args...) //nolint:errcheck // Flush tells
}

func newTables(ms []method, peer bool) *tables {
	t := &tables{}
	for i, what := range []string{"the column is found", "another column is found"} {
		t[i].rows = tabwriter.NewWriter(&t[i].text, 0, 0, 2, ' ', tabwriter.AlignRight)
		t.put(i, "%s\trows\t", what)
		for _, m := range ms {
			t.put(i, "%s\t", m.name)
		}
		if peer {
			t.put(i, "Evidently\t")
		}
		t.put(i, "\n")
	}
	return t
}

func (t *tables) add(s *scenario, n int, found [][][]string) {
	for i := range t {
		if i == 0 && s.column == "" {
			continue
		}
		t.put(i, "%s\t%d\t", s.name, n)
		for _, f := range found {
			t.put(i, "%.2f\t", counted(f, s.column, i == 1))
		}
		t.put(i, "\n")
	}
}

func (t *tables) write(out io.Writer) error {
	for i := range t {
		t.put(i, "\n")
		if err := t[i].rows.Flush(); err != nil {
			return err
		}
		if _, err := io.WriteString(out, t[i].text.String()); err != nil {
			return err
		}
	}
	return nil
}

// counted returns the share of windows in which the column was found or, if others is set, another one.
func counted(found [][]string, column string, others bool) float64 {
	n := 0
	for _, columns := range found {
		if slices.ContainsFunc(columns, func(c string) bool { return (c == column) != others }) {
			n++
		}
	}
	return float64(n) / float64(len(found))
}

// judges are the checkers of references by each method: what they drew for a size serves all windows of it.
type judges struct {
	references []*profile.Profile
	checkers   [][]*profile.Checker // by reference and method
}

func newJudges(references []*profile.Profile, ms []method) (*judges, error) {
	j := &judges{references: references}
	for _, r := range references {
		var list []*profile.Checker
		for _, m := range ms {
			k, err := profile.NewChecker(r, m.rules)
			if err != nil {
				return nil, err
			}
			list = append(list, k)
		}
		j.checkers = append(j.checkers, list)
	}
	return j, nil
}

// found returns, for each method, the columns that are found in each window.
func (j *judges) found(ctx context.Context, d *data, groups []group) ([][][]string, error) {
	found := make([][][]string, len(j.checkers[0]))
	for m := range found {
		found[m] = make([][]string, len(groups))
	}
	err := each(ctx, len(j.references), func(r int) error {
		for w := range groups {
			if groups[w].reference != r {
				continue
			}
			window, err := d.window(groups[w].rows, j.references[r])
			if err != nil {
				return err
			}
			for m, k := range j.checkers[r] {
				v, err := k.Check(window)
				if err != nil {
					return err
				}
				for i := range v.Findings {
					if v.Findings[i].Severity != profile.OK {
						found[m][w] = append(found[m][w], v.Findings[i].Column)
					}
				}
			}
		}
		return nil
	})
	return found, err
}

// evidently returns the columns that Evidently's default tests find in each window.
func evidently(ctx context.Context, d *data, python, dir string, columns []string, groups []group) ([][]string, error) {
	windows := filepath.Join(dir, "windows.csv")
	if err := d.write(windows, groups); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, python, append([]string{"-", filepath.Join(dir, "references.csv"), windows}, columns...)...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(peer), os.Stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("evidently: %w", err)
	}
	var found [][]string
	if err := json.Unmarshal(b, &found); err != nil {
		return nil, fmt.Errorf("evidently: %w", err)
	}
	return found, nil
}
