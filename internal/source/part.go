package source

import (
	"errors"
	"hash"
	"io"
	"os"

	"millrace.dev/codec"
	"millrace.dev/record"
)

// part is one file of a source that is being read.
type part interface {
	// next sets the value of raw to that of the next record, and nothing else. It returns io.EOF at the end, when the
	// file's bytes are in its hash, and [codec.ErrTooLarge] for a record beyond the bound, behind which it goes on.
	next(raw *record.Raw) error
	// columns returns the names of the columns, or nil where the records name their fields themselves.
	columns() []string
	close() error
}

// open begins to read file i. Its bytes go into h as they are, where that is not nil.
func (f *files) open(i int, o *Options, h hash.Hash) (part, error) {
	path := f.paths[i]
	if err := regular(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var p part
	if f.format == Parquet {
		p, err = openParquet(file, o, h)
	} else {
		p, err = openLines(file, f.format, f.kinds[i], o, h)
	}
	if err != nil {
		return nil, errors.Join(inFile(path, err), file.Close())
	}
	return p, nil
}

// lines is a file of lines or rows.
type lines struct {
	file   *os.File
	text   *inflater
	read   func() ([]byte, error)
	header []string
	given  []string // the header as it stands in the file
}

func openLines(file *os.File, f Format, c Compression, o *Options, h hash.Hash) (*lines, error) {
	var r io.Reader = file
	if h != nil {
		r = io.TeeReader(file, h)
	}
	text, err := inflate(r, c)
	if err != nil {
		return nil, err
	}
	l := &lines{file: file, text: text}
	if c != Plain {
		r = text
	}
	if f == JSON {
		reader, err := codec.NewLineReader(r, o.MaxBytes)
		if err != nil {
			text.close()
			return nil, err
		}
		l.read = reader.Next
		return l, nil
	}
	reader, err := codec.NewCSVReader(r, codec.CSVReaderOptions{MaxBytes: o.MaxBytes, Rename: o.Rename})
	if err != nil {
		text.close()
		return nil, err
	}
	l.read, l.header, l.given = reader.Next, reader.Header(), reader.Given()
	return l, nil
}

func (l *lines) next(raw *record.Raw) (err error) {
	raw.Value, err = l.read()
	return err
}

func (l *lines) columns() []string { return l.header }

func (l *lines) close() error {
	l.text.close()
	return l.file.Close()
}
