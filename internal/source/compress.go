package source

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// maxWindow bounds the memory that a zstd file can ask for: what zstd itself takes without being told to take more.
const maxWindow = 128 << 20

// inflater reads what a compressed file holds. Its errors are [damage], but for those of the file itself.
type inflater struct {
	io.Reader

	kind  Compression
	raw   *noted
	close func()
}

// noted keeps an error of the file apart from what a decompressor makes of it.
type noted struct {
	r   io.Reader
	err error
}

// Read implements [io.Reader].
func (n *noted) Read(p []byte) (int, error) {
	k, err := n.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		n.err = err
	}
	return k, err
}

// inflate returns a reader of what r holds. Whoever has read it closes it.
func inflate(r io.Reader, c Compression) (*inflater, error) {
	const readAhead = 64 << 10
	f := &inflater{kind: c, raw: &noted{r: r}, close: func() {}}
	var err error
	switch c {
	case Gzip: // which may have several members, one after the other
		f.Reader, err = gzip.NewReader(bufio.NewReaderSize(f.raw, readAhead))
	case Zstd:
		var d *zstd.Decoder
		d, err = zstd.NewReader(f.raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err == nil {
			f.Reader, f.close = d, d.Close
		}
	default:
		f.Reader = r
	}
	if err != nil {
		return nil, f.fault(err)
	}
	return f, nil
}

// Read implements [io.Reader].
func (f *inflater) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = f.fault(err)
	}
	return n, err
}

// fault says what is wrong with the file.
func (f *inflater) fault(err error) error {
	switch _, corrupt := errors.AsType[flate.CorruptInputError](err); {
	case f.raw.err != nil:
		return f.raw.err
	case f.kind == Plain:
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &damage{fmt.Errorf("the %s data ends too early", f.kind), copyAgain}
	case errors.Is(err, zstd.ErrWindowSizeExceeded), errors.Is(err, zstd.ErrDecoderSizeExceeded):
		return &damage{fmt.Errorf("the zstd data needs more than %d MiB of memory: %w", maxWindow>>20, err), "compress it again without --long and --ultra"}
	case errors.Is(err, gzip.ErrHeader), errors.Is(err, zstd.ErrMagicMismatch):
		return &damage{fmt.Errorf("it is not %s, or something else follows that: %w", f.kind, err), "mend the name, or make the file anew"}
	case corrupt:
		return &damage{errors.New("the gzip data is damaged"), copyAgain}
	default:
		return &damage{fmt.Errorf("the %s data is damaged: %w", f.kind, err), copyAgain}
	}
}

// inflate returns what a page holds: size bytes, and no room is made for more.
func (c *cursor) inflate(b []byte, size int) ([]byte, error) {
	if c.chunk.Codec == format.Uncompressed {
		return b, nil
	}
	if size == 0 { // and whatever some writers make of nothing
		return nil, nil
	}
	dst := make([]byte, size)
	var n int
	var err error
	switch c.chunk.Codec {
	case format.Snappy:
		if n, err = snappy.DecodedLen(b); err == nil && n == size {
			_, err = snappy.Decode(dst, b)
		}
	case format.Gzip:
		n, err = gunzip(dst, b)
	case format.Zstd:
		dst, err = c.zstd.DecodeAll(b, dst[:0])
		n = len(dst)
	case format.Lz4Raw:
		n, err = lz4.UncompressBlock(b, dst)
	default:
		return nil, &damage{fmt.Errorf("the compression %s is not read", c.chunk.Codec), "write the file anew with zstd or snappy"}
	}
	if err == nil && n != size {
		err = fmt.Errorf("it holds %d bytes in the place of %d", n, size)
	}
	if err != nil {
		return nil, fmt.Errorf("the %s data of a page is damaged: %w", c.chunk.Codec, err)
	}
	return dst, nil
}

// gunzip fills dst with what b holds, and returns how much there is: one more than there is room for if it is more.
func gunzip(dst, b []byte) (int, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	n, err := io.ReadFull(z, dst)
	if err != nil {
		return n, err
	}
	var more [1]byte
	switch _, err := io.ReadFull(z, more[:]); {
	case err == nil:
		return n + 1, nil
	case errors.Is(err, io.EOF):
		return n, nil
	default:
		return n, err
	}
}
