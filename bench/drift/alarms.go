package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"

	"millrace.dev/profile"
)

// each calls do for 0 to n-1, on all processors, and returns an error of one that has one.
func each(ctx context.Context, n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			for i := w; i < n && errs[w] == nil; i += len(errs) {
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = do(i)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// falseAlarms has windows without drift, over all columns, judged at each declared rate. In the first sense a reference is a
// sample of as many rows as there are sales, and few windows, or one, share it; in the second the reference is all sales, and
// known without error.
func falseAlarms(ctx context.Context, d *data, o *options, out, messages io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	put := func(format string, args ...any) { fmt.Fprintf(table, format, args...) } //nolint:errcheck // Flush tells
	put("references\trows\t%s\n", strings.Repeat("declared\talarms\tto declared\tplain BH\t", len(o.rates)))
	for sense := range strings.SplitSeq(o.senses, ",") {
		known := sense == "known"
		for _, n := range o.sizes {
			alarms, plain, err := undrifted(ctx, d, o, n, known)
			if err != nil {
				return err
			}
			put("%s\t%d\t", sense, n)
			for k, rate := range o.rates {
				a := share(alarms, k)
				put("%.3f\t%.3f\t%.2f\t%.3f\t", rate, a, a/rate, share(plain, k))
			}
			put("\n")
			progress(messages, "%s, %d rows: %.4f alarm", sense, n, share(alarms, 0))
		}
	}
	put("\n")
	return table.Flush()
}

func progress(messages io.Writer, format string, args ...any) {
	fmt.Fprintf(messages, "drift: "+format+"\n", args...) //nolint:errcheck // progress alone
}

// undrifted judges windows of n rows: for each, whether it alarms at each rate. Up to ten windows share a reference as long as
// it has as many rows as all of them: they are then nearly independent.
func undrifted(ctx context.Context, d *data, o *options, n int, known bool) (alarms, plain [][]bool, err error) {
	alarms, plain = make([][]bool, o.windows), make([][]bool, o.windows)
	per := min(max(len(d.rows)/n, 1), 10)
	if known {
		per = (o.windows + 1) / 2
	}
	err = each(ctx, (o.windows+per-1)/per, func(r int) error {
		rng := rand.New(rand.NewPCG(uint64(n), uint64(o.first+r))) //nolint:gosec // positive, and no secret
		rows := d.rows
		if !known {
			rows = d.draw(rng, len(d.rows))
		}
		reference := d.reference(rows)
		checkers, err := checkersOf(reference, known, d.names, o.rates)
		if err != nil {
			return err
		}
		for w := r * per; w < min((r+1)*per, o.windows); w++ {
			window, err := d.window(d.draw(rng, n), reference)
			if err != nil {
				return err
			}
			if alarms[w], plain[w], err = judge(checkers, window, o.rates); err != nil {
				return err
			}
		}
		return nil
	})
	return alarms, plain, err
}

func checkersOf(reference *profile.Profile, known bool, columns []string, rates []float64) ([]*profile.Checker, error) {
	var list []*profile.Checker
	for _, rate := range rates {
		k, err := profile.NewChecker(reference, profile.Rules{MinRows: 1, FalseAlarms: rate, Columns: columns, Known: known})
		if err != nil {
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// judge says for each rate whether the window alarms, and whether it would by Benjamini and Hochberg's limit for
// independent tests.
func judge(checkers []*profile.Checker, window *profile.Profile, rates []float64) (alarms, plain []bool, err error) {
	for c, k := range checkers {
		v, err := k.Check(window)
		if err != nil {
			return nil, nil, err
		}
		alarms = append(alarms, v.Severity != profile.OK)
		var p []float64
		for i := range v.Findings {
			f := &v.Findings[i]
			if !math.IsNaN(f.P) && (f.Check != profile.CheckNulls || f.Value > 0 || f.Reference > 0) {
				p = append(p, f.P)
			}
		}
		slices.Sort(p)
		found := false
		for i, x := range p {
			found = found || x <= rates[c]*float64(i+1)/float64(len(p))
		}
		plain = append(plain, found)
	}
	return alarms, plain, nil
}

func share(alarms [][]bool, k int) float64 {
	n := 0
	for _, a := range alarms {
		if a[k] {
			n++
		}
	}
	return float64(n) / float64(len(alarms))
}
