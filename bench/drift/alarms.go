package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
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

// falseAlarms has windows without drift, over all columns, judged at each declared rate. In the first sense each window has
// a reference of its own, which is a sample of as many rows as there are sales; in the second the reference is all sales,
// and known without error.
func falseAlarms(ctx context.Context, d *data, o *options, out, messages io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(table, "windows without drift\trows\t")
	for _, rate := range o.rates {
		fmt.Fprintf(table, "declared\talarms\tto declared\tplain BH\t")
		_ = rate
	}
	fmt.Fprintln(table)
	all := d.reference(d.rows)
	for _, known := range []bool{false, true} {
		for _, n := range o.sizes {
			alarms, plain := make([][]bool, o.windows), make([][]bool, o.windows)
			err := each(ctx, o.windows, func(w int) error {
				rng := rand.New(rand.NewPCG(uint64(n), uint64(w))) //nolint:gosec // positive, and no secret
				reference := all
				if !known {
					reference = d.reference(d.draw(rng, len(d.rows)))
				}
				window, err := d.window(d.draw(rng, n), reference)
				if err != nil {
					return err
				}
				alarms[w], plain[w], err = judge(reference, window, known, d.names, o.rates)
				return err
			})
			if err != nil {
				return err
			}
			sense := "each with a reference of its own"
			if known {
				sense = "one reference, known without error"
			}
			fmt.Fprintf(table, "%s\t%d\t", sense, n)
			for k, rate := range o.rates {
				a := share(alarms, k)
				fmt.Fprintf(table, "%.3f\t%.3f\t%.2f\t%.3f\t", rate, a, a/rate, share(plain, k))
			}
			fmt.Fprintln(table)
			fmt.Fprintf(messages, "drift: %s, %d rows: done\n", sense, n)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	return nil
}

// judge says for each rate whether the window alarms, and whether it would by Benjamini and Hochberg's limit for
// independent tests.
func judge(reference, window *profile.Profile, known bool, columns []string, rates []float64) (alarms, plain []bool, err error) {
	for _, rate := range rates {
		k, err := profile.NewChecker(reference, profile.Rules{MinRows: 1, FalseAlarms: rate, Columns: columns, Known: known})
		if err != nil {
			return nil, nil, err
		}
		v, err := k.Check(window)
		if err != nil {
			return nil, nil, err
		}
		alarms = append(alarms, v.Severity != profile.OK)
		var p []float64
		for i := range v.Findings {
			if f := &v.Findings[i]; f.P == f.P && (f.Check != profile.CheckNulls || f.Value > 0 || f.Reference > 0) {
				p = append(p, f.P)
			}
		}
		slices.Sort(p)
		found := false
		for i, x := range p {
			found = found || x <= rate*float64(i+1)/float64(len(p))
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
