package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds on a page. Writers aim at 1 MiB.
const (
	maxPageBytes  = 128 << 20
	maxPageValues = 32 << 20
	maxPageHeader = 1 << 20
)

// cursor is where one column of a row group is read.
type cursor struct {
	leaf  *leaf
	chunk *format.ColumnMetaData
	file  io.ReaderAt
	next  int64 // offset of the next page in the file
	end   int64 // of the column in the file
	left  int64 // values that are in no page yet
	zstd  *zstd.Decoder

	page  page
	level int // of the next row in the page
	value int // of the next value in the page
	dict  *dictionary
	bytes int64 // that the cursor holds
}

// page is a page of a column.
type page struct {
	rows    int
	defs    []uint32 // definition levels, or nil where every value is there
	values  *values  // those that are there, or
	indices []uint32 // their places in the dictionary
}

// dictionary has the values that pages point to, and what has been written of them.
type dictionary struct {
	values *values
	texts  [][]byte // as JSON; nil is not written yet
}

// newCursor begins to read a column, of a file of the given size.
func newCursor(l *leaf, chunk *format.ColumnChunk, file io.ReaderAt, size int64, z *zstd.Decoder) (*cursor, error) {
	m := &chunk.MetaData
	c := &cursor{leaf: l, chunk: m, file: file, next: m.DataPageOffset, left: m.NumValues, zstd: z}
	if d := m.DictionaryPageOffset; d > 0 && d < c.next {
		c.next = d
	}
	c.end = c.next + m.TotalCompressedSize
	if chunk.FilePath != "" {
		return nil, errors.New("its columns are in other files")
	}
	if c.next < 4 || m.TotalCompressedSize < 0 || c.end > size || c.end < c.next || m.NumValues < 0 || m.Type != l.physical {
		return nil, fmt.Errorf("the column %q is not where the metadata says", l.name)
	}
	return c, nil
}

// appendNext appends the value of the next row as JSON; nothing where there is none.
func (c *cursor) appendNext(dst []byte) ([]byte, error) {
	for c.level == c.page.rows {
		if err := c.load(); err != nil {
			return dst, fmt.Errorf("column %q: %w", c.leaf.name, err)
		}
	}
	row := c.level
	c.level++
	if c.page.defs != nil && int(c.page.defs[row]) < c.leaf.maxDef {
		return dst, nil
	}
	i := c.value
	c.value++
	if c.page.indices == nil {
		return c.leaf.append(dst, c.page.values.at(i)), nil
	}
	d, at := c.dict, c.page.indices[i]
	if d.texts == nil {
		return c.leaf.append(dst, d.values.at(int(at))), nil
	}
	if d.texts[at] == nil {
		d.texts[at] = c.leaf.append([]byte{}, d.values.at(int(at)))
	}
	return append(dst, d.texts[at]...), nil
}

// load reads the next page with values.
func (c *cursor) load() error {
	for {
		if c.left <= 0 {
			return errors.New("it has fewer values than its row group has rows")
		}
		h, err := c.header()
		if err != nil {
			return err
		}
		body, err := c.body(h)
		if err != nil {
			return err
		}
		switch {
		case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid && c.dict == nil:
			err = c.loadDictionary(h, body)
		case h.Type == format.DataPage && h.DataPageHeader.Valid:
			err = c.loadV1(h, body)
		case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
			err = c.loadV2(h, body)
		case h.Type == format.IndexPage:
			continue
		default:
			err = fmt.Errorf("there is no page of the type %s in this place", h.Type)
		}
		if err != nil {
			return err
		}
		if h.Type != format.DictionaryPage {
			c.level, c.value = 0, 0
			if c.left -= int64(c.page.rows); c.left < 0 {
				return errLong
			}
			if c.page.rows > 0 {
				return nil
			}
		}
	}
}

// header reads the header of the next page. Most are of some dozen bytes; some have large statistics.
func (c *cursor) header() (h *format.PageHeader, err error) {
	defer recovered(&err)
	for size := int64(512); ; size *= 16 {
		window := make([]byte, min(size, c.end-c.next))
		if len(window) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if n, err := c.file.ReadAt(window, c.next); n < len(window) {
			return nil, err
		}
		var p thrift.CompactProtocol
		r := p.NewReaderFromBytes(window)
		h := &format.PageHeader{}
		err := checkThrift(window)
		if err == nil {
			err = thrift.NewDecoder(r).Decode(h)
		}
		if err != nil {
			if int64(len(window)) < c.end-c.next && size < maxPageHeader {
				continue // it may go on behind the window
			}
			return nil, fmt.Errorf("the header of a page: %w", err)
		}
		c.next += int64(r.BytesRead())
		if h.CompressedPageSize < 0 || h.UncompressedPageSize < 0 || int64(h.CompressedPageSize) > c.end-c.next {
			return nil, errors.New("a page is larger than its column")
		}
		if max(h.CompressedPageSize, h.UncompressedPageSize) > maxPageBytes {
			return nil, &damage{fmt.Errorf("a page is larger than %d MiB", maxPageBytes>>20), smallerPages}
		}
		return h, nil
	}
}

const smallerPages = "write the file anew with pages of about 1 MiB"

// body reads the bytes of a page, and checks them where there is a checksum.
func (c *cursor) body(h *format.PageHeader) ([]byte, error) {
	b := make([]byte, h.CompressedPageSize)
	if n, err := c.file.ReadAt(b, c.next); n < len(b) {
		return nil, err
	}
	c.next += int64(len(b))
	if h.CRC != 0 && crc32.ChecksumIEEE(b) != uint32(h.CRC) {
		return nil, errors.New("the checksum of a page is another")
	}
	return b, nil
}

// plainDictionary is how older writers name the encoding of pages that have a dictionary, and of the dictionary itself.
const plainDictionary = format.PlainDictionary //nolint:staticcheck // files have it, though no writer should write it any more

func (c *cursor) loadDictionary(h *format.PageHeader, body []byte) error {
	d := h.DictionaryPageHeader.V
	if d.Encoding != format.Plain && d.Encoding != plainDictionary {
		return fmt.Errorf("a dictionary of the encoding %s", d.Encoding)
	}
	body, err := c.inflate(body, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	v, err := c.decode(body, format.Plain, int(d.NumValues))
	if err != nil {
		return err
	}
	c.dict = &dictionary{values: v}
	const worthWriting = 4 << 20
	if len(v.data) <= worthWriting {
		c.dict.texts = make([][]byte, v.count)
	}
	return nil
}

func (c *cursor) loadV1(h *format.PageHeader, body []byte) error {
	d := &h.DataPageHeader.V
	body, err := c.inflate(body, int(h.UncompressedPageSize))
	if err != nil {
		return err
	}
	var levels []byte
	if c.leaf.maxDef > 0 {
		if d.DefinitionLevelEncoding != format.RLE {
			return fmt.Errorf("levels of the encoding %s are not read", d.DefinitionLevelEncoding)
		}
		if len(body) < 4 || uint64(binary.LittleEndian.Uint32(body)) > uint64(len(body)-4) {
			return errShort
		}
		n := 4 + binary.LittleEndian.Uint32(body)
		levels, body = body[4:n], body[n:]
	}
	return c.setPage(int(d.NumValues), levels, body, d.Encoding)
}

func (c *cursor) loadV2(h *format.PageHeader, body []byte) error {
	d := &h.DataPageHeaderV2.V
	reps, defs := int64(d.RepetitionLevelsByteLength), int64(d.DefinitionLevelsByteLength)
	if reps < 0 || defs < 0 || reps+defs > min(int64(len(body)), int64(h.UncompressedPageSize)) {
		return errShort
	}
	levels, body := body[reps:reps+defs], body[reps+defs:]
	if !d.IsCompressed.Valid || d.IsCompressed.V {
		var err error
		if body, err = c.inflate(body, int(int64(h.UncompressedPageSize)-reps-defs)); err != nil {
			return err
		}
	}
	return c.setPage(int(d.NumValues), levels, body, d.Encoding)
}

// setPage decodes a page of n rows.
func (c *cursor) setPage(n int, levels, body []byte, e format.Encoding) error {
	if n < 0 || n > maxPageValues {
		return &damage{fmt.Errorf("a page has %d values, where %d are possible", n, maxPageValues), smallerPages}
	}
	p := page{rows: n}
	there := n
	if c.leaf.maxDef > 0 {
		var err error
		if p.defs, err = hybrid(make([]uint32, 0, n), levels, c.leaf.levels, n); err != nil {
			return err
		}
		for _, d := range p.defs {
			if int(d) < c.leaf.maxDef {
				there--
			}
		}
	}
	var err error
	switch e {
	case format.RLEDictionary, plainDictionary:
		p.indices, err = c.indices(body, there)
	default:
		p.values, err = c.decode(body, e, there)
	}
	if err != nil {
		return err
	}
	c.page = p
	c.bytes = int64(cap(p.defs)+cap(p.indices))*4 + p.values.size()
	if c.dict != nil {
		c.bytes += c.dict.values.size()
	}
	return nil
}

// indices decodes the places of n values in the dictionary.
func (c *cursor) indices(b []byte, n int) ([]uint32, error) {
	if n == 0 {
		return []uint32{}, nil
	}
	if c.dict == nil {
		return nil, errors.New("a page needs a dictionary that is not there")
	}
	if len(b) == 0 {
		return nil, errShort
	}
	indices, err := hybrid(make([]uint32, 0, n), b[1:], int(b[0]), n)
	if err != nil {
		return nil, err
	}
	for _, i := range indices {
		if int64(i) >= int64(c.dict.values.count) {
			return nil, errors.New("a page points to what its dictionary does not have")
		}
	}
	return indices, nil
}

// size returns about how many bytes v takes.
func (v *values) size() int64 {
	if v == nil {
		return 0
	}
	return int64(cap(v.data)) + 4*int64(cap(v.spans))
}

// decode decodes n values.
func (c *cursor) decode(b []byte, e format.Encoding, n int) (*values, error) {
	physical, width := c.leaf.physical, c.leaf.width
	integer := physical == format.Int32 || physical == format.Int64
	switch {
	case n < 0 || n > maxPageValues:
		return nil, errLong
	case e == format.Plain && physical == format.Boolean:
		return booleans(b, n)
	case e == format.Plain:
		return plainValues(b, width, n)
	case e == format.RLE && physical == format.Boolean:
		return booleanRuns(b, n)
	case e == format.DeltaBinaryPacked && integer:
		return deltaIntegers(b, width, n)
	case e == format.DeltaLengthByteArray && physical == format.ByteArray:
		return deltaLengths(b, n)
	case e == format.DeltaByteArray && (physical == format.ByteArray || physical == format.FixedLenByteArray):
		return deltaTexts(b, width, n, maxPageBytes)
	case e == format.ByteStreamSplit && width > 0 && physical != format.Boolean:
		return streams(b, width, n)
	default:
		return nil, fmt.Errorf("the encoding %s of %s is not read", e, physical)
	}
}
