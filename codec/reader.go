package codec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// ErrTooLarge is returned by the Next of a reader for a record beyond its bound. The reader has skipped the
// record and can go on.
var ErrTooLarge = errors.New("codec: the record is too large")

// source reads ahead in blocks and never writes twice to the same place, so that what it has handed out stays
// as it is.
type source struct {
	r          io.Reader
	block      int
	buf        []byte
	start, end int   // what is read and not handed out yet
	err        error // of r, after what is in buf
	first      int64 // number of the line at start, from 1
}

const blockSize = 256 << 10

func newSource(r io.Reader) source { return source{r: r, block: blockSize, first: 1} }

// more reads on; false at the end of the input or on an error.
func (s *source) more() bool {
	if s.err != nil {
		return false
	}
	if s.end == len(s.buf) {
		size := max(s.block, 2*(s.end-s.start))
		next := make([]byte, size)
		s.end = copy(next, s.buf[s.start:s.end])
		s.buf, s.start = next, 0
	}
	const patience = 100
	for range patience {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.err = err
		if n > 0 || err != nil {
			return n > 0
		}
	}
	s.err = io.ErrNoProgress
	return false
}

// rest is what is read and not handed out yet.
func (s *source) rest() []byte { return s.buf[s.start:s.end:s.end] }

// take hands out the next n bytes without their line end.
func (s *source) take(n int) []byte {
	raw := s.rest()[:n:n]
	s.start += n
	s.first += int64(bytes.Count(raw, []byte{'\n'}))
	return slices.Clip(withoutLineEnd(raw))
}

// line finds the line end at or after from and returns the length up to and with it. Where the input ends
// without one, that is the rest; so an answer of from itself is the end of the input, and 0 its failure. It
// is -1 when there is no line end within limit bytes, with some more for the line end itself.
func (s *source) line(from, limit int) int {
	seen := from
	for {
		rest := s.rest()
		if n := bytes.IndexByte(rest[seen:], '\n'); n >= 0 {
			return seen + n + 1
		}
		if seen = len(rest); seen > limit+len("\r") {
			return -1
		}
		if !s.more() {
			if !errors.Is(s.err, io.EOF) { // nobody knows whether the last line is whole
				s.end = s.start
			}
			return len(s.rest())
		}
	}
}

// skipLine drops the rest of a line.
func (s *source) skipLine() {
	for {
		rest := s.rest()
		if n := bytes.IndexByte(rest, '\n'); n >= 0 {
			s.start += n + 1
			s.first++
			return
		}
		s.start = s.end
		if !s.more() {
			return
		}
	}
}

// failure returns the error that ended the input: io.EOF at its proper end.
func (s *source) failure() error {
	if errors.Is(s.err, io.EOF) {
		return io.EOF
	}
	return fmt.Errorf("codec: line %d: %w", s.first, s.err)
}

// LineReader reads records that are lines, such as JSON lines. It is for one goroutine at a time.
type LineReader struct {
	source source
	max    int
	line   int64
	blank  int
}

// NewLineReader returns a reader of the lines of r, each of at most maxBytes bytes without its line end; 0 is
// DefaultMaxBytes.
func NewLineReader(r io.Reader, maxBytes int) (*LineReader, error) {
	largest, err := checkMaxBytes(maxBytes)
	if err != nil {
		return nil, err
	}
	return &LineReader{source: newSource(r), max: largest}, nil
}

// Next returns the next line that is not blank, without its line end (\n or \r\n). The caller owns raw: no
// later call changes it. A line beyond the bound gives [ErrTooLarge], and the call after that goes on behind
// it. The end of the input is io.EOF; any other error is of the input and final.
func (l *LineReader) Next() (raw []byte, err error) {
	for {
		l.line = l.source.first
		n := l.source.line(0, l.max)
		if n == 0 {
			return nil, l.source.failure()
		}
		if n < 0 {
			l.source.skipLine()
		} else {
			raw = l.source.take(n)
		}
		if n < 0 || len(raw) > l.max {
			return nil, fmt.Errorf("line %d: %w", l.line, ErrTooLarge)
		}
		if skipSpace(raw, 0) < len(raw) {
			return raw, nil
		}
		l.blank++
	}
}

// Line returns the number, from 1, of the line that Next returned last.
func (l *LineReader) Line() int64 { return l.line }

// Blank returns how many blank lines Next has skipped: empty ones and ones of white space alone.
func (l *LineReader) Blank() int { return l.blank }

// CSVReader reads a CSV file: a header and then rows. It only finds where rows end; whether they are right is
// for a [CSV] decoder to say. It is for one goroutine at a time.
type CSVReader struct {
	source source
	comma  byte
	max    int
	header []string
	given  []string // the header as it stands in the file
	line   int64
	blank  int
}

// CSVReaderOptions are the settings of a [CSVReader].
type CSVReaderOptions struct {
	// Comma separates the cells of a row: an ASCII character. Default: ','.
	Comma byte
	// MaxBytes is the largest length of a row without its line end. Default: DefaultMaxBytes.
	MaxBytes int
	// Rename gives names to columns that have none ("column 3") or whose name came before ("size (2)"), for those who
	// want to see what is in the file whatever its header is. Default: such a header is an error.
	Rename bool
}

// NewCSVReader returns a reader of the CSV file r. It reads the header; a byte order mark before it is
// dropped. An error of the input, and a header that is missing, too large, malformed or, unless they are renamed, has
// empty or equal names, are errors.
func NewCSVReader(r io.Reader, o CSVReaderOptions) (*CSVReader, error) {
	largest, err := checkMaxBytes(o.MaxBytes)
	comma, errComma := checkComma(o.Comma)
	if err := errors.Join(err, errComma); err != nil {
		return nil, err
	}
	c := &CSVReader{source: newSource(r), comma: comma, max: largest}
	for more := true; more && c.source.end < 3; {
		more = c.source.more()
	}
	if hasByteOrderMark(c.source.rest()) {
		c.source.start += 3
	}
	raw, err := c.Next()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("codec: the CSV file is empty: it needs a header")
	}
	if err != nil {
		return nil, fmt.Errorf("codec: header of the CSV file: %w", err)
	}
	if c.given, err = splitHeader(raw, comma); err == nil {
		c.header = c.given
		if o.Rename {
			c.header = renamed(c.given)
		}
		err = checkHeader(c.header)
	}
	if err != nil {
		return nil, fmt.Errorf("codec: header of the CSV file: %w", err)
	}
	return c, nil
}

func splitHeader(raw []byte, comma byte) ([]string, error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("the bytes are not UTF-8")
	}
	s := splitter{comma: comma}
	if !s.split(raw) {
		return nil, fmt.Errorf("byte %d: %s", s.fault.at, s.fault.what)
	}
	header := make([]string, len(s.cells))
	for i, c := range s.cells {
		header[i] = string(c.text)
	}
	return header, nil
}

func checkHeader(header []string) error {
	seen := make(map[string]bool, len(header))
	for i, name := range header {
		if name == "" {
			return fmt.Errorf("column %d has no name", i+1)
		}
		if seen[name] {
			return fmt.Errorf("the column %q comes twice", name)
		}
		seen[name] = true
	}
	return nil
}

// renamed gives every column a name of its own.
func renamed(given []string) []string {
	taken := make(map[string]bool, len(given))
	for _, name := range given {
		taken[name] = true
	}
	out, seen := make([]string, len(given)), make(map[string]bool, len(given))
	for i, name := range given {
		base := name
		if name == "" {
			base = fmt.Sprintf("column %d", i+1)
		}
		if out[i] = base; seen[name] || name == "" && taken[base] {
			for k := 2; taken[out[i]]; k++ {
				out[i] = fmt.Sprintf("%s (%d)", base, k)
			}
		}
		seen[name] = true
		taken[out[i]] = true
	}
	return out
}

// Header returns the names of the columns. The slice must not be changed.
func (c *CSVReader) Header() []string { return c.header }

// Given returns the names of the columns as they stand in the file, before any was renamed. The slice must not be
// changed.
func (c *CSVReader) Given() []string { return c.given }

// Next returns the next row that is not an empty line, without its line end (\n or \r\n). The caller owns
// raw: no later call changes it. A row whose quotes are wrong ends at the line end after the fault; if a
// quote is never closed, at the end of the line that opens it: the decoder rejects the row and reading goes
// on with the next line. A row beyond the bound gives [ErrTooLarge], and the call after that goes on behind
// its line. The end of the input is io.EOF; any other error is of the input and final.
func (c *CSVReader) Next() (raw []byte, err error) {
	for {
		c.line = c.source.first
		n, fits := c.row()
		if n == 0 {
			return nil, c.source.failure()
		}
		if n < 0 {
			c.source.skipLine()
		} else {
			raw = c.source.take(n)
		}
		if !fits {
			return nil, fmt.Errorf("line %d: %w", c.line, ErrTooLarge)
		}
		if len(raw) > 0 {
			return raw, nil
		}
		c.blank++
	}
}

// Line returns the number, from 1, of the line at which the row starts that Next returned last.
func (c *CSVReader) Line() int64 { return c.line }

// Blank returns how many empty lines Next has skipped.
func (c *CSVReader) Blank() int { return c.blank }

// row returns the length of the next row with its line end, and whether it is within the bound. The length is
// 0 at the end of the input, and -1 for a row whose first line alone is beyond the bound.
func (c *CSVReader) row() (length int, fits bool) {
	n := c.source.line(0, c.max)
	if n <= 0 {
		return n, n == 0
	}
	q := quoting{comma: c.comma}
	for opened, start := n, 0; ; {
		row := c.source.rest()[:n]
		if len(withoutLineEnd(row)) > c.max {
			return opened, false
		}
		newCell := q.line(row[start:])
		if !q.open {
			return n, true
		}
		if newCell {
			opened = n
		}
		start = n
		switch n = c.source.line(start, c.max); n {
		case -1:
			return opened, false
		case 0:
			return 0, true
		case start: // the input ends inside quotes
			return opened, true
		}
	}
}

// quoting follows the quotes of a row from line to line.
type quoting struct {
	comma byte
	open  bool // the line ended inside a quoted cell
}

// line reads one line with its end, and tells whether a cell starts in it whose quote is still open.
func (q *quoting) line(line []byte) (newCell bool) {
	if !q.open && bytes.IndexByte(line, '"') < 0 { // most lines
		return false
	}
	i := 0
	for {
		if !q.open {
			if i < len(line) && line[i] == '"' {
				q.open, newCell = true, true
				i++
			} else {
				n := bytes.IndexByte(line[i:], q.comma)
				if n < 0 {
					return false
				}
				i += n + 1
				continue
			}
		}
		n := bytes.IndexByte(line[i:], '"')
		if n < 0 {
			return newCell
		}
		i += n + 1
		switch {
		case i < len(line) && line[i] == '"': // doubled
			i++
		case i < len(line) && line[i] == q.comma:
			q.open = false
			i++
		default: // the line ends, or something is wrong and so the row ends with the line
			q.open = false
			return false
		}
	}
}
