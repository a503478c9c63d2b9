package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"millrace.dev/internal/registry"
)

// GCOptions are the options of [Models.GC].
type GCOptions struct {
	By string
	// OlderThan is how long ago versions must have been rejected or retired for their bundles to go, such as 30d or 12h;
	// "" leaves them.
	OlderThan string
	DryRun    bool
}

// GC removes what nobody needs from the registry; see [registry.Registry.GC].
func (m *Models) GC(ctx context.Context, o GCOptions) (registry.GCReport, error) {
	options := registry.GCOptions{By: o.By, DryRun: o.DryRun}
	if o.OlderThan != "" {
		age, err := parseAge(o.OlderThan)
		if err != nil {
			return registry.GCReport{}, &Error{Code: Usage, Op: "model gc", Where: "--older-than", Err: err, Hint: "write how many days or hours, such as 30d or 12h"}
		}
		options.OlderThan = age
	}
	return m.Registry.GC(ctx, options)
}

// parseAge reads a duration above zero in Go's notation, or a whole number of days, such as 30d.
func parseAge(text string) (time.Duration, error) {
	const most = 10_000
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 32)
		d = time.Duration(min(n, most)) * 24 * time.Hour //nolint:gosec // it is small
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not an age", text)
	}
	return d, nil
}

// Export writes a version to the file at path, or to stdout where that is "-": its bundle and the events about it, or
// with bare the bundle alone.
func (m *Models) Export(ctx context.Context, ref, path string, bare bool, stdout io.Writer) (v registry.Version, err error) {
	err = WriteFile(path, stdout, func(w io.Writer) (err error) {
		if !bare {
			v, err = m.Registry.Export(ctx, ref, m.Name, w)
			return err
		}
		if v, err = m.Registry.Resolve(ctx, ref, m.Name); err != nil {
			return err
		}
		data, err := m.Registry.Load(ctx, v)
		if err == nil {
			_, err = w.Write(data)
		}
		return err
	})
	return v, err
}

// Import registers the model in the file at path, which [Models.Export] wrote.
func (m *Models) Import(ctx context.Context, path, by string) (v registry.Version, err error) {
	f, err := os.Open(path)
	if err != nil {
		return v, err
	}
	v, err = m.Registry.Import(ctx, f, by)
	return v, errors.Join(err, f.Close())
}
