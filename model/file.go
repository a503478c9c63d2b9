package model

import (
	"fmt"
	"io"
	"os"

	"millrace.dev/internal/durable"
)

// Extension ends the name of a bundle's file.
const Extension = ".millrace"

// Loaded is a bundle that is in use. It is immutable and safe for concurrent use.
type Loaded struct {
	Bundle *Bundle
	// Digest is the digest of the file: see [Digest].
	Digest string
	// Ref names the version, such as "house-prices@3"; for a file that comes from no registry it is the name
	// of the model alone.
	Ref string
}

// Load decodes data, the bytes of the file that ref names; see [Decode] for options and errors. An empty ref
// stands for the name of the model.
func Load(data []byte, ref string, options ...DecodeOption) (*Loaded, error) {
	b, err := Decode(data, options...)
	if err != nil {
		return nil, err
	}
	if ref == "" {
		ref = b.Manifest.Name
	}
	return &Loaded{Bundle: b, Digest: Digest(data), Ref: ref}, nil
}

// Open reads the bundle in the file at path; see [Decode] for options and errors.
func Open(path string, options ...DecodeOption) (*Loaded, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	limit := readOptions(options).maxBytes
	data, err := io.ReadAll(io.LimitReader(f, max(limit, limit+1))) // one byte too many is enough
	if c := f.Close(); err == nil {
		err = c
	}
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: the limit is %d bytes", ErrTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("model: %s: %w", path, err)
	}
	l, err := Load(data, "", options...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return l, nil
}

// WriteFile makes data, which [Bundle.Encode] returned, the content of the file at path. A reader, and a crash,
// finds the old content or the new: data goes to a temporary file in the same folder, which is then renamed.
func WriteFile(path string, data []byte) error {
	if err := durable.Replace(durable.OS(), path, data, 0o666); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	return nil
}
