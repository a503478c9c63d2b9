//go:build linux

// Profile measures `millrace profile` of a CSV file of made-up house sales beside what people otherwise use: pandas and
// whylogs, which it installs into a folder of its own. Each runs as a process of its own, in turns; time, processor time and
// the most memory that each held go to standard output, progress to standard error.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"millrace.dev/bench/internal/rig"
	"millrace.dev/internal/house"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "profile:", err)
		os.Exit(1)
	}
}

// options say what is measured.
type options struct {
	millrace string
	peers    string // the folder of their scripts
	cache    string
	rows     int
	slow     int // rows for whylogs
	counts   int
	without  string
}

// contestant is something that makes a profile of a file.
type contestant struct {
	name string
	rows int
	args func(file string) []string
}

// measured is what one run took.
type measured struct {
	wall, cpu time.Duration
	mib       float64 // the most that it held
}

func run(ctx context.Context, args []string, out, messages io.Writer) error {
	var o options
	f := flag.NewFlagSet("profile", flag.ContinueOnError)
	f.SetOutput(messages)
	f.StringVar(&o.millrace, "millrace", "bin/millrace", "the `binary` to measure")
	f.StringVar(&o.peers, "peers", "bench/profile/peer", "the `folder` of the peers' scripts")
	f.StringVar(&o.cache, "cache", defaultCache(), "the `folder` for the peers and the data, which stay there")
	f.IntVar(&o.rows, "rows", 10_000_000, "rows of the file")
	f.IntVar(&o.slow, "slow", 1_000_000, "rows of the file for whylogs, which takes long; pandas and millrace run on it too")
	f.IntVar(&o.counts, "counts", 3, "measurements of each")
	f.StringVar(&o.without, "without", "", "peers to leave out: pandas, whylogs, or both with a comma between")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 || o.rows < 1 || o.slow < 1 || o.counts < 1 {
		return errors.New("want flags with positive numbers, and nothing else")
	}
	all, err := o.contestants(ctx, messages)
	if err != nil {
		return err
	}
	for _, rows := range []int{o.slow, o.rows} {
		if err := o.measureAll(ctx, rows, all, out, messages); err != nil {
			return err
		}
	}
	return nil
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "millrace-bench")
}

// contestants returns those that there are. Peers that cannot be installed are left out, which is said.
func (o *options) contestants(ctx context.Context, messages io.Writer) ([]contestant, error) {
	profileOf := func(more ...string) func(string) []string {
		return func(file string) []string { return append([]string{o.millrace, "profile", file, "--json"}, more...) }
	}
	all := []contestant{
		{"millrace profile", o.rows, profileOf()},
		{"millrace profile --threads 1", o.rows, profileOf("--threads", "1")},
		{"millrace profile --exact", o.rows, profileOf("--exact")},
	}
	for _, peer := range []struct {
		name     string
		rows     int
		packages []string
	}{{"pandas", o.rows, []string{"pandas"}}, {"whylogs", o.slow, []string{"whylogs", "pandas<3", "numpy<2"}}} { // whylogs names what NumPy 2 no longer has
		if strings.Contains(o.without, peer.name) {
			continue
		}
		python, err := install(ctx, filepath.Join(o.cache, peer.name), peer.name, peer.packages, messages)
		if err != nil {
			fmt.Fprintf(messages, "%s cannot be installed, and is left out: %v\n", peer.name, err) //nolint:errcheck // progress alone
			continue
		}
		script := filepath.Join(o.peers, peer.name+"_profile.py")
		all = append(all, contestant{peer.name, peer.rows, func(file string) []string { return []string{python, script, file} }})
	}
	return all, os.MkdirAll(o.cache, 0o700)
}

// install makes an environment of Python with packages in it, once, and returns its interpreter.
func install(ctx context.Context, dir, name string, packages []string, messages io.Writer) (string, error) {
	python := filepath.Join(dir, "bin", "python")
	if exec.CommandContext(ctx, python, "-c", "import pandas, "+name).Run() == nil {
		return python, nil
	}
	pip := append([]string{python, "-m", "pip", "install", "--quiet"}, packages...)
	for _, args := range [][]string{{"python3", "-m", "venv", dir}, pip, {python, "-c", "import pandas, " + name}} {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = messages, messages
		if err := cmd.Run(); err != nil {
			return "", fmt.Errorf("%s: %w", strings.Join(args, " "), err)
		}
	}
	return python, nil
}

// measureAll measures the contestants in turns.
func (o *options) measureAll(ctx context.Context, rows int, all []contestant, out, messages io.Writer) error {
	file := filepath.Join(o.cache, fmt.Sprintf("houses-%d.csv", rows))
	if err := write(file, rows); err != nil {
		return err
	}
	results := map[string][]measured{}
	for turn := range o.counts {
		for _, c := range all {
			if c.rows < rows {
				continue
			}
			m, err := measure(ctx, rows, c.args(file))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			fmt.Fprintf(messages, "turn %d: %s of %d rows: %v\n", turn+1, c.name, rows, m.wall.Round(10*time.Millisecond)) //nolint:errcheck // progress alone
			results[c.name] = append(results[c.name], m)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%d rows, %d MiB of CSV, medians of %d\n%30s %8s %8s %12s %12s\n", rows, info.Size()>>20, o.counts, "", "s", "CPU s", "rows/s", "max RSS MiB") //nolint:errcheck // standard output
	for _, c := range all {
		r := results[c.name]
		if len(r) == 0 {
			continue
		}
		wall := rig.Median(r, func(m measured) time.Duration { return m.wall })
		cpu := rig.Median(r, func(m measured) time.Duration { return m.cpu })
		mib := rig.Median(r, func(m measured) float64 { return m.mib })
		fmt.Fprintf(out, "%30s %8.2f %8.2f %12.0f %12.0f\n", c.name, wall.Seconds(), cpu.Seconds(), float64(rows)/wall.Seconds(), mib) //nolint:errcheck // as above
	}
	fmt.Fprintln(out) //nolint:errcheck // as above
	return nil
}

// write writes the file, unless it is there.
func write(path string, rows int) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	g, err := house.New(house.Options{Seed: 1})
	if err != nil {
		return err
	}
	f, err := os.Create(path + ".partial")
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	line := []byte(house.CSVHeader)
	for i := range int64(rows) {
		s := g.Sale(i)
		line = s.AppendCSV(line)
		if _, err := w.Write(line); err != nil {
			return errors.Join(err, f.Close())
		}
		line = line[:0]
	}
	if err := errors.Join(w.Flush(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".partial", path)
}

// measure runs a contestant, which has to have seen all rows: it prints their number.
func measure(ctx context.Context, rows int, args []string) (measured, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var text, faults strings.Builder
	cmd.Stdout, cmd.Stderr = &text, &faults
	begun := time.Now()
	if err := cmd.Run(); err != nil {
		return measured{}, fmt.Errorf("%w: %s", err, faults.String())
	}
	m := measured{wall: time.Since(begun), cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		m.mib = float64(u.Maxrss) / 1024
	}
	n := strconv.Itoa(rows)
	if !strings.Contains(text.String(), "rows "+n) && !strings.Contains(text.String(), `"records":`+n) {
		return m, fmt.Errorf("it did not see %s rows: %.200s", n, text.String())
	}
	return m, nil
}
