package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"millrace.dev/codec"
	"millrace.dev/record"
)

// maxParquetMemory bounds the pages that are in memory at a time: one of each column that is read, and its dictionary.
const maxParquetMemory = 1 << 30

// parquetFile is a Parquet file that is read row by row, each as a JSON object of its columns by their own types: what
// the decoder makes of a record, it makes of a row.
//
// The library reads the metadata alone. What is in the pages is read here (page.go, encoding.go): the library takes the
// numbers of values that a page claims on trust, makes room for them, and decodes into memory that it used before.
type parquetFile struct {
	file   *os.File
	before fs.FileInfo
	hash   hash.Hash // nil where nobody asks for it
	max    int
	names  []string
	leaves []leaf
	groups []format.RowGroup
	width  int // columns of a row group
	zstd   *zstd.Decoder

	group   int // of the next row group
	left    int64
	cursors []*cursor
	block   []byte // from which rows are cut; what has been cut is not written again
}

// openParquet reads the metadata of a file. Errors other than those of the system are [damage].
func openParquet(file *os.File, o *Options, h hash.Hash) (p *parquetFile, err error) {
	defer recovered(&err)
	before, err := file.Stat()
	if err != nil {
		return nil, err
	}
	meta, err := readFooter(file, before.Size())
	if err != nil {
		return nil, spoilt(err)
	}
	var rows int64
	for i := range meta.RowGroups {
		rows += meta.RowGroups[i].NumRows
	}
	if rows != meta.NumRows {
		return nil, spoilt(fmt.Errorf("it has %d rows in its row groups, and should have %d", rows, meta.NumRows))
	}
	tree, err := newTree(meta.Schema)
	if err != nil {
		return nil, spoilt(err)
	}
	p = &parquetFile{file: file, before: before, hash: h, max: o.MaxBytes, groups: meta.RowGroups, width: tree.columns}
	if p.max == 0 {
		p.max = codec.DefaultMaxBytes
	}
	if p.leaves, err = tree.choose(o); err != nil {
		return nil, err
	}
	for i := range tree.leaves {
		p.names = append(p.names, tree.leaves[i].name)
	}
	p.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
	return p, err
}

// recovered makes an error of a panic. The library that reads the metadata panics on some that is damaged; no state of
// this process depends on where it does.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = &damage{fmt.Errorf("its metadata is damaged: %v", r), copyAgain}
	}
}

// spoilt makes damage of an error that is none yet, and not of the system.
func spoilt(err error) error {
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*damage](err); ok {
		return err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("the Parquet data ends too early")
	}
	return &damage{err, copyAgain}
}

const parquetMagic = "PAR1"

// readFooter reads the metadata at the end of a file.
func readFooter(r io.ReaderAt, size int64) (*format.FileMetaData, error) {
	const frame = len(parquetMagic)
	if size < int64(3*frame) {
		return nil, errors.New("it is too short for a Parquet file")
	}
	var head [frame]byte
	var tail [2 * frame]byte
	if _, err := r.ReadAt(head[:], 0); err != nil {
		return nil, err
	}
	if _, err := r.ReadAt(tail[:], size-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch end := string(tail[frame:]); {
	case string(head[:]) == "PARE" || end == "PARE":
		return nil, &damage{errors.New("it is encrypted"), "write it without encryption"}
	case string(head[:]) != parquetMagic:
		return nil, &damage{errors.New("it is no Parquet file"), "mend the name"}
	case end != parquetMagic:
		return nil, errors.New("its end is not that of a Parquet file: it was cut short, or is still being written")
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-int64(3*frame) {
		return nil, errors.New("its metadata is longer than the file")
	}
	if n > maxFooter {
		return nil, &damage{fmt.Errorf("its metadata is longer than %d MiB", maxFooter>>20), "write larger row groups, or fewer columns"}
	}
	footer := make([]byte, n)
	if _, err := r.ReadAt(footer, size-int64(len(tail))-n); err != nil {
		return nil, err
	}
	if err := checkThrift(footer); err != nil {
		return nil, err
	}
	var p thrift.CompactProtocol
	meta := &format.FileMetaData{}
	if err := thrift.NewDecoder(p.NewReaderFromBytes(footer)).Decode(meta); err != nil {
		return nil, fmt.Errorf("its metadata: %w", err)
	}
	if meta.EncryptionAlgorithm.Value != nil {
		return nil, &damage{errors.New("it is encrypted"), "write it without encryption"}
	}
	return meta, nil
}

func (p *parquetFile) columns() []string { return p.names }

// next makes the next row.
func (p *parquetFile) next(raw *record.Raw) error {
	for p.left == 0 {
		if p.group == len(p.groups) {
			return p.finish()
		}
		if err := p.open(&p.groups[p.group]); err != nil {
			return spoilt(fmt.Errorf("row group %d: %w", p.group, err))
		}
		p.group++
	}
	p.left--
	row, err := p.row()
	if err != nil {
		if errors.Is(err, codec.ErrTooLarge) {
			return err
		}
		return spoilt(fmt.Errorf("row group %d: %w", p.group-1, err))
	}
	raw.Value = row
	return nil
}

// open begins to read a row group.
func (p *parquetFile) open(g *format.RowGroup) error {
	if len(g.Columns) != p.width || g.NumRows < 0 {
		return fmt.Errorf("it has %d columns and %d rows, where the file has %d columns", len(g.Columns), g.NumRows, p.width)
	}
	p.cursors = p.cursors[:0]
	for i := range p.leaves {
		l := &p.leaves[i]
		chunk := &g.Columns[l.index]
		if !slices.Equal(l.path, chunk.MetaData.PathInSchema) {
			return fmt.Errorf("the column %q is in another place than in the schema", l.name)
		}
		if chunk.MetaData.NumValues != g.NumRows {
			return fmt.Errorf("the column %q has %d values for %d rows", l.name, chunk.MetaData.NumValues, g.NumRows)
		}
		c, err := newCursor(l, chunk, p.file, p.before.Size(), p.zstd)
		if err != nil {
			return err
		}
		p.cursors = append(p.cursors, c)
	}
	p.left = g.NumRows
	return nil
}

// row returns the next row as a JSON object of the values that are there. Its memory is not used again.
func (p *parquetFile) row() ([]byte, error) {
	const blockBytes, enough = 256 << 10, 4 << 10
	if cap(p.block)-len(p.block) < enough {
		p.block = make([]byte, 0, blockBytes)
	}
	b, start, tooLarge := p.block, len(p.block), false
	b = append(b, '{')
	for _, c := range p.cursors {
		fresh := c.level == c.page.rows
		before := len(b)
		if before > start+1 {
			b = append(b, ',')
		}
		b = append(b, c.leaf.member...)
		at := len(b)
		var err error
		if b, err = c.appendNext(b); err != nil {
			return nil, err
		}
		if fresh {
			if err := p.bound(); err != nil {
				return nil, err
			}
		}
		if len(b) == at { // there is no value
			b = b[:before]
		}
		if len(b)-start > p.max { // it may be very large: the rest of it need not be written
			b, tooLarge = b[:start+1], true
		}
	}
	if tooLarge {
		return nil, codec.ErrTooLarge
	}
	b = append(b, '}')
	p.block = b
	return b[start:len(b):len(b)], nil
}

// bound stops where the pages take too much memory.
func (p *parquetFile) bound() error {
	var sum int64
	for _, c := range p.cursors {
		sum += c.bytes
	}
	if sum > maxParquetMemory {
		return &damage{fmt.Errorf("its pages take more than %d MiB at a time", maxParquetMemory>>20), smallerPages}
	}
	return nil
}

// finish puts the file into the hash, all of it: the rows are in another order than its bytes, and have not all of them.
func (p *parquetFile) finish() error {
	if p.hash != nil {
		if _, err := io.Copy(p.hash, io.NewSectionReader(p.file, 0, p.before.Size())); err != nil {
			return err
		}
		p.hash = nil
	}
	after, err := p.file.Stat()
	if err != nil {
		return err
	}
	if after.Size() != p.before.Size() || !after.ModTime().Equal(p.before.ModTime()) {
		return &damage{ErrChanged, "read it again when nothing writes to it"}
	}
	return io.EOF
}

func (p *parquetFile) close() error {
	p.zstd.Close()
	return p.file.Close()
}
