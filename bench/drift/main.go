// Drift measures how often checks of windows alarm without drift, and how often they find drift, beside Evidently on the
// same rows. Tables go to standard output, progress to standard error.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "drift:", err)
		os.Exit(1)
	}
}

// options say what is measured.
type options struct {
	data    string
	python  string // that has Evidently; "": without
	windows int    // of a row of the first table
	beside  int    // of a row of the others
	rates   []float64
	sizes   []int
	senses  string
	first   int // added to the seeds: parts of one measurement can run beside one another
}

func run(ctx context.Context, args []string, out, messages io.Writer) error {
	var o options
	flags := flag.NewFlagSet("drift", flag.ContinueOnError)
	flags.SetOutput(messages)
	flags.StringVar(&o.data, "data", "", "the file housedata.csv")
	flags.StringVar(&o.python, "python", "", "a Python that has evidently; without it, Evidently is left out")
	flags.IntVar(&o.windows, "windows", 1000, "windows without drift, of each size; 0 for none")
	flags.IntVar(&o.beside, "beside", 100, "windows of each kind and size that Evidently sees too; 0 for none")
	rates := flags.String("rates", "0.05", "declared rates of false alarms")
	sizes := flags.String("sizes", "50,200,1000,10000", "rows of windows without drift")
	flags.StringVar(&o.senses, "references", "samples,known", "what references of windows without drift are")
	flags.IntVar(&o.first, "first", 0, "the number of the first reference, for parts of a measurement")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for s := range strings.SplitSeq(*rates, ",") {
		x, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return err
		}
		o.rates = append(o.rates, x)
	}
	for s := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		o.sizes = append(o.sizes, n)
	}
	d, err := readData(o.data)
	if err != nil {
		return err
	}
	if o.windows > 0 {
		err = falseAlarms(ctx, d, &o, out, messages)
	}
	if err != nil || o.beside == 0 {
		return err
	}
	return power(ctx, d, &o, out, messages)
}
