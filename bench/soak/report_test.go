//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPicture draws a memory that grows, changelogs of windows that do, and all else constant, with a delay that is unknown at times.
func TestPicture(t *testing.T) {
	t.Parallel()
	s := &soak{minutes: 30, rate: 5000, retention: 5 * time.Minute, warm: 10 * time.Minute}
	var samples []sample
	for i := range 360 {
		at := float64(i+1) * 5
		now := sample{at: at, resident: 200 + at/10, heap: 100, disk: 20, descriptors: 30, goroutines: 30, windowChangelogs: at, lag: 12, p99: 1200, records: 5000}
		if i%3 == 0 {
			now.p99 = math.NaN()
		}
		samples = append(samples, now)
	}
	path := filepath.Join(t.TempDir(), "soak.svg")
	if err := s.writeSVG(path, samples); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(strings.NewReader(string(text))); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{
		"30 minutes under 5000 records a second", ">Grows: 320 MiB on average.<", ">+120 (±0.0) in the last 20.0 minutes.<", ">Up to +16.0 is flat.<",
		">Flat: 30.0 of them on average.<", ">Flat: 1200 ms on average.<", ">Not judged: ", ">The reason: it is what the load is.<",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %q in the picture", want)
		}
	}
}
