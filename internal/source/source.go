package source

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"path/filepath"
	"strings"

	"millrace.dev/codec"
	"millrace.dev/internal/kafka"
	"millrace.dev/internal/pipeline"
	"millrace.dev/record"
)

// Options say how to read data.
type Options struct {
	// Schema has the fields of the records. It decides in which form a time of a Parquet file is written, and which
	// columns there must be of a type that can be read. Default: none
	Schema *record.Schema
	// Declared leaves out the columns of a Parquet file that the schema does not declare: reading them takes time.
	// Default: false, all columns
	Declared bool
	// MaxBytes bounds the bytes of a record. Default: [codec.DefaultMaxBytes]
	MaxBytes int
	// Rename takes CSV files whose header has empty or equal names, as [codec.CSVReaderOptions] says. Default: an error
	Rename bool
	// Client reads topics. Default: none, and a topic is an error
	Client *kafka.Client
}

// Source is data that can be read again and again. It is safe for concurrent use.
type Source struct {
	name    string
	options Options
	files   *files // nil for a topic
	topic   *topicRange
}

// Open finds out what name stands for: a file, the files that match a pattern (see [Files]), or a range of a topic,
// topic://NAME?from=A&to=B. Which files these are, and which offsets, is decided here, once.
//
// Data that cannot be used is a [DataError]; other errors are those of package os and of internal/kafka.
func Open(ctx context.Context, name string, o Options) (*Source, error) {
	s := &Source{name: name, options: o}
	var err error
	if IsTopic(name) {
		s.topic, err = openTopic(ctx, name, o.Client)
	} else {
		s.files, err = openFiles(name, &s.options)
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Format returns the format of the records: that of a CSV file is CSV, all others are JSON.
func (s *Source) Format() pipeline.Format {
	if s.topic != nil {
		return pipeline.JSON
	}
	return s.files.recordFormat()
}

// Columns returns the columns of a CSV or Parquet file, and nil where each record names its own fields. The slice must
// not be changed.
func (s *Source) Columns() []string {
	if s.topic != nil {
		return nil
	}
	return s.files.columns
}

// Given returns the columns of a CSV file as its header has them, before any was renamed; nil of other data. The slice must
// not be changed.
func (s *Source) Given() []string {
	if s.files == nil {
		return nil
	}
	return s.files.given
}

// FileFormat returns what is in the files; 0 for a topic.
func (s *Source) FileFormat() Format {
	if s.files == nil {
		return 0
	}
	return s.files.format
}

// Topic tells whether the data is in a topic.
func (s *Source) Topic() bool { return s.topic != nil }

// Name returns the name of the data for the lineage: that of a file or a pattern without the folder, and of a topic its
// range with the offsets that were found, so that it can be opened again.
func (s *Source) Name() string {
	if s.topic != nil {
		return s.topic.name()
	}
	return filepath.Base(s.name)
}

// Read begins to read the data from its beginning. ctx bounds all of the reading.
func (s *Source) Read(ctx context.Context) *Reader {
	r := &Reader{source: s, hash: sha256.New()}
	if s.topic != nil {
		r.records = newTopicRecords(ctx, s.topic, r.hash)
	} else {
		r.records = &fileRecords{files: s.files, options: &s.options, hash: r.hash}
	}
	return r
}

// records are the raw records of a source, in their order.
type records interface {
	// next sets raw to the next record, all of it but its number. It returns what [part] says.
	next(raw *record.Raw) error
	close() error
}

// Reader reads data once, batch by batch. It is for one goroutine at a time.
type Reader struct {
	source  *Source
	records records
	hash    hash.Hash
	first   int64 // number of the first record of the batch
	number  int64 // of the next record
	raw     record.Raw
}

// batchBytes is the size of the records of a batch from which on it takes no more: a batch of the largest records
// allowed would not fit the memory.
const batchBytes = 8 << 20

// Fill adds up to [pipeline.BatchRows] records to b, which it resets first. It returns false when there is no more. A
// record of a file has the file's path as its topic, its number as its offset, and no timestamp; one of a topic is as
// it came. A record that is too large is a rejected row.
func (r *Reader) Fill(b *record.Batch) (bool, error) {
	b.Reset()
	r.first = r.number
	for size := 0; b.Len() < pipeline.BatchRows && size < batchBytes; r.number++ {
		r.raw = record.Raw{Offset: r.number, Timestamp: -1}
		err := r.records.next(&r.raw)
		if errors.Is(err, io.EOF) {
			return b.Len() > 0, nil
		}
		if err != nil && !errors.Is(err, codec.ErrTooLarge) {
			return false, err
		}
		size += len(r.raw.Value)
		row := b.Append(r.raw)
		if err != nil {
			b.Reject(row, codec.TooLarge(cmp.Or(r.source.options.MaxBytes, codec.DefaultMaxBytes)))
		}
	}
	return true, nil
}

// First returns the number of the first record of the last batch. The records of a source are numbered from 0, over
// all its files or partitions.
func (r *Reader) First() int64 { return r.first }

// Digest returns the SHA-256 of what was read. It is that of the data once Fill has returned false: of a file's bytes as
// they are, of all files one after the other, or of a topic's records as docs/formats/sources.md says.
func (r *Reader) Digest() string { return "sha256:" + hex.EncodeToString(r.hash.Sum(nil)) }

// Close ends the reading.
func (r *Reader) Close() error { return r.records.close() }

// fileRecords reads one file after the other.
type fileRecords struct {
	files   *files
	options *Options
	hash    hash.Hash
	index   int // of the file after part
	part    part
}

func (r *fileRecords) next(raw *record.Raw) error {
	for {
		if r.part == nil {
			if r.index == len(r.files.paths) {
				return io.EOF
			}
			if err := r.open(); err != nil {
				return err
			}
		}
		raw.Topic = r.files.paths[r.index-1]
		err := r.part.next(raw)
		if err == nil || errors.Is(err, codec.ErrTooLarge) {
			return err
		}
		if !errors.Is(err, io.EOF) {
			return inFile(raw.Topic, err)
		}
		if err := r.close(); err != nil {
			return err
		}
	}
}

// open opens the next file, whose columns must be those of the first.
func (r *fileRecords) open() error {
	p, err := r.files.open(r.index, r.options, r.hash)
	if err != nil {
		return err
	}
	r.part = p
	r.index++
	if err := r.files.sameColumns(p.columns()); err != nil {
		e := &DataError{Path: r.files.paths[r.index-1], Err: err, Hint: "make the files alike, or write a pattern that leaves this one out"}
		if r.index == 1 {
			e.Err, e.Hint = ErrChanged, "read it again when nothing writes to it"
		}
		return e
	}
	return nil
}

func (r *fileRecords) close() error {
	if r.part == nil {
		return nil
	}
	p := r.part
	r.part = nil
	return p.close()
}

// Before returns the name of what a range of a topic has before it, and it after that: the range from the earliest records
// on, with the same end. from are the offsets at which s itself begins, by partition. Data in files has no such name.
func (s *Source) Before() (name string, from map[int32]int64) {
	if s.topic == nil {
		return "", nil
	}
	from = map[int32]int64{}
	for _, p := range s.topic.spans {
		from[p.partition] = p.from
	}
	_, to, _ := strings.Cut(s.topic.name(), "&")
	return TopicScheme + s.topic.topic + "?from=earliest&" + to, from
}

// Offsets returns the offsets of a range of a topic, by partition: from is in it, and to is not. They are nil for data in files.
func (s *Source) Offsets() (from, to map[int32]int64) {
	if s.topic == nil {
		return nil, nil
	}
	from, to = map[int32]int64{}, map[int32]int64{}
	for _, p := range s.topic.spans {
		from[p.partition], to[p.partition] = p.from, p.to
	}
	return from, to
}
