package batch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// source reads a data file record by record and batch by batch.
type source struct {
	path    string
	file    *os.File
	hash    interface{ Sum([]byte) []byte }
	next    func() ([]byte, error)
	options pipeline.Options
	number  int64 // of the next record
}

// FormatOf tells the format of a data file by its name.
func FormatOf(path string) (pipeline.Format, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".csv":
		return pipeline.CSV, nil
	case ".json", ".jsonl", ".ndjson":
		return pipeline.JSON, nil
	default:
		return 0, &DataError{Path: path, Err: errFormat, Hint: "the name ends in .csv, or in .jsonl for one JSON object a line"}
	}
}

// open starts to read a data file from its beginning.
func open(path string, maxBytes int) (*source, error) {
	format, err := FormatOf(path)
	if err != nil {
		return nil, err
	}
	// Opening a named pipe waits for a writer, and no signal ends that; and training reads the data more than once.
	if i, err := os.Stat(path); err == nil && !i.Mode().IsRegular() {
		return nil, &DataError{Path: path, Err: errNoFile, Hint: "write the records to a file first"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	s := &source{path: path, file: f, hash: h, options: pipeline.Options{Format: format, MaxBytes: maxBytes}}
	r := io.TeeReader(f, h)
	if format == pipeline.JSON {
		l, err := codec.NewLineReader(r, maxBytes)
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		s.next = l.Next
		return s, nil
	}
	c, err := codec.NewCSVReader(r, codec.CSVReaderOptions{MaxBytes: maxBytes})
	if err != nil {
		return nil, errors.Join(&DataError{Path: path, Err: err}, f.Close())
	}
	s.options.Header = c.Header()
	s.next = c.Next
	return s, nil
}

// batchBytes is the size of the records of a batch from which on it takes no more: a batch of the largest records
// allowed would not fit the memory.
const batchBytes = 8 << 20

// fill adds up to pipeline.BatchRows records to b, which it resets first. It returns false when there is no more.
func (s *source) fill(b *record.Batch) (bool, error) {
	b.Reset()
	for size := 0; b.Len() < pipeline.BatchRows && size < batchBytes; {
		raw, err := s.next()
		if errors.Is(err, io.EOF) {
			return b.Len() > 0, nil
		}
		if err != nil && !errors.Is(err, codec.ErrTooLarge) {
			return false, fmt.Errorf("%s: %w", s.path, err)
		}
		size += len(raw)
		row := b.Append(record.Raw{Value: raw, Topic: s.path, Offset: s.number, Timestamp: -1})
		if err != nil {
			b.Reject(row, codec.TooLarge(s.maxBytes()))
		}
		s.number++
	}
	return true, nil
}

func (s *source) maxBytes() int { return cmp.Or(s.options.MaxBytes, codec.DefaultMaxBytes) }

// digest returns the SHA-256 of what was read.
func (s *source) digest() string { return "sha256:" + hex.EncodeToString(s.hash.Sum(nil)) }

func (s *source) Close() error { return s.file.Close() }

// scan decodes the data file and calls f with one batch after another. It returns the digest of the file's bytes.
func (t *trainer) scan(ctx context.Context, levels map[string][]string, f func(b *record.Batch) error) (string, error) {
	src, err := open(t.Data, t.MaxBytes)
	if err != nil {
		return "", err
	}
	defer src.Close() //nolint:errcheck // it was only read
	d, err := pipeline.NewDecoder(t.Schema, src.options)
	if err != nil {
		return "", &DataError{Path: t.Data, Err: err}
	}
	b := record.NewBatch(t.Schema, levels)
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		more, err := src.fill(b)
		if err != nil {
			return "", err
		}
		if !more {
			return src.digest(), nil
		}
		d.Decode(b)
		if err := f(b); err != nil {
			return "", err
		}
	}
}
