//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"time"

	"millrace.dev/internal/cli"
)

// profiledCommand is the first argument of this program where it is millrace, with a profile of its processor time.
const profiledCommand = "profiled"

// profiled runs millrace with arguments and writes a profile to path.
func profiled(path string, args []string) (code int) {
	f, err := os.Create(path)
	if err == nil {
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code = cli.Main(args, os.Stdin, os.Stdout, os.Stderr)
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// profile floods millrace in each way, each with a process of its own, and leaves a profile of it.
func (b *bench) profile(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if b.profiles, err = filepath.Abs(b.profiles); err != nil {
		return err
	}
	if err := os.MkdirAll(b.profiles, 0o755); err != nil {
		return err
	}
	for _, n := range b.sizes {
		for _, w := range ways() {
			if w.peer || !strings.Contains(w.name, b.only) {
				continue
			}
			name := fmt.Sprintf("%s %d.pprof", w.name, n)
			name = filepath.Join(b.profiles, strings.NewReplacer(" /", "_", ", ", "_", " ", "_").Replace(name))
			if b.ours, err = b.startMillrace(ctx, self, profiledCommand, name); err != nil {
				return err
			}
			rate, err := b.flooded(ctx, &w, n)
			if err = errors.Join(err, b.ours.Stop()); err != nil {
				return err
			}
			b.ours = nil
			b.tell("%s, %d rows: %.0f requests/s, of which %s is the profile\n", w.name, n, rate, name)
		}
	}
	return nil
}

// flooded floods millrace for some seconds.
func (b *bench) flooded(ctx context.Context, w *way, n int) (float64, error) {
	t, err := b.target(ctx, w, n)
	if err != nil {
		return 0, err
	}
	rate, err := t.flood(ctx, 16, 5*time.Second)
	return rate, errors.Join(err, t.close())
}
