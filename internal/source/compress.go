package source

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
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
