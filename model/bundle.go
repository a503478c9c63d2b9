package model

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"millrace.dev/feature"
	"millrace.dev/gbm"
	"millrace.dev/profile"
	"millrace.dev/record"
)

// Errors of this package, to be told apart with [errors.Is].
var (
	// ErrNotBundle means that a file is something else than a bundle.
	ErrNotBundle = errors.New("not a millrace bundle")
	// ErrCorrupt means that a file was a bundle, and is damaged.
	ErrCorrupt = errors.New("damaged bundle")
	// ErrNewer means that a bundle needs a later millrace.
	ErrNewer = errors.New("bundle of a later millrace")
	// ErrTooLarge means that a file is beyond the size limit.
	ErrTooLarge = errors.New("bundle too large")
)

// DefaultMaxBytes is the default limit on the size of a bundle: 256 MiB.
const DefaultMaxBytes = 256 << 20

// Bundle is a trained model with all that belongs to it. Nothing in it may be changed once it is in use; it is
// then safe for concurrent use.
type Bundle struct {
	Manifest Manifest
	Schema   *record.Schema // of the records
	Plan     *feature.Plan  // from a record to the inputs of the forest
	Forest   *gbm.Forest
	Inputs   []Input // one per input of the plan, in its order
	Metrics  Metrics
	History  History
	Profile  *profile.Profile // of the rows that took part in training; predictions of those that the forest has not seen
	Lineage  Lineage
	Golden   []GoldenRow
	// Evaluation describes the errors on the test part; nil for a bundle that was made before there was one.
	Evaluation *Evaluation

	extra []section // optional sections that this version does not know; Encode keeps them
}

// CheckName wants the name of a model: 1 to 63 lower-case letters, digits and hyphens, no hyphen first.
func CheckName(name string) error {
	ok := name != "" && len(name) <= 63 && name[0] != '-'
	for _, c := range []byte(name) {
		ok = ok && (c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z')
	}
	if !ok {
		return fmt.Errorf("model: the name %.80q is not one of a model: use 1 to 63 lower-case letters, digits and "+
			"hyphens, and no hyphen first", name)
	}
	return nil
}

// Encode returns the file that holds b, and its digest, "sha256:" and 64 hexadecimal digits. Equal bundles give
// equal bytes. It fails if b is not complete or contradicts itself.
func (b *Bundle) Encode() (data []byte, digest string, err error) {
	c := b.normal()
	if err := c.validate(); err != nil {
		return nil, "", fmt.Errorf("model: encode: %w", err)
	}
	var sections []section
	extra := c.extra
	for _, p := range parts() {
		for p.name != partManifest && len(extra) > 0 && extra[0].name < p.name {
			sections, extra = append(sections, extra[0]), extra[1:]
		}
		content, err := p.encode(c)
		if err == nil && len(content) > p.limit {
			err = fmt.Errorf("section of %d bytes, the limit is %d", len(content), p.limit)
		}
		if err != nil {
			return nil, "", fmt.Errorf("model: encode: %s: %w", p.name, err)
		}
		if p.optional && content == nil {
			continue
		}
		sections = append(sections, section{name: p.name, critical: !p.optional, data: content})
	}
	data = pack(append(sections, extra...))
	return data, Digest(data), nil
}

// Digest returns the digest of the bytes of a file: "sha256:" and 64 hexadecimal digits.
func Digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// normal returns b in the form that is written: equal bundles have one.
func (b *Bundle) normal() *Bundle {
	c := *b
	c.Manifest.Format = format
	c.Manifest.Created = c.Manifest.Created.UTC().Truncate(time.Second)
	c.Inputs, c.Golden = list(c.Inputs), list(c.Golden)
	c.History.Rounds = list(c.History.Rounds)
	c.Lineage.Features = list(c.Lineage.Features)
	c.Lineage.Rows.Reasons = list(c.Lineage.Rows.Reasons)
	if c.Profile != nil {
		c.Profile = &profile.Profile{Rows: c.Profile.Rows, Columns: list(c.Profile.Columns), Sample: c.Profile.Sample}
	}
	return &c
}

// list makes an empty list of a nil one, since the two have different JSON.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// DecodeOption changes how a bundle is read.
type DecodeOption interface{ apply(*decodeOptions) }

type decodeOptions struct {
	maxBytes  int64
	functions []feature.Function
}

type maxBytes int64

func (m maxBytes) apply(o *decodeOptions) { o.maxBytes = int64(m) }

// WithMaxBytes sets the largest size of a bundle. Default: [DefaultMaxBytes].
func WithMaxBytes(n int64) DecodeOption { return maxBytes(n) }

type withFunctions []feature.Function

func (f withFunctions) apply(o *decodeOptions) { o.functions = append(o.functions, f...) }

// WithFunctions gives the functions of the program that the features of a bundle call: see [feature.Function]. Without one
// that is called, or with one of another version, the error matches [feature.ErrFunction]. Default: none.
func WithFunctions(functions ...feature.Function) DecodeOption { return withFunctions(functions) }

func readOptions(options []DecodeOption) decodeOptions {
	o := decodeOptions{maxBytes: DefaultMaxBytes}
	for _, option := range options {
		option.apply(&o)
	}
	return o
}

// Decode reads a bundle. Its checksum is verified before anything is parsed, and sizes before memory is asked
// for; data may come from anywhere. An error matches [ErrNotBundle], [ErrCorrupt], [ErrNewer], [ErrTooLarge]
// or [feature.ErrFunction].
// The bundle does not share memory with data.
func Decode(data []byte, options ...DecodeOption) (*Bundle, error) {
	b, err := decode(data, readOptions(options))
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	return b, nil
}

func decode(data []byte, o decodeOptions) (*Bundle, error) {
	sections, err := unpack(data, o.maxBytes)
	if err != nil {
		return nil, err
	}
	b := &Bundle{}
	known := map[string]*part{}
	for _, p := range parts(o.functions...) {
		known[p.name] = &p
	}
	for i := range sections {
		s := &sections[i]
		p := known[s.name]
		switch {
		case p == nil && s.critical:
			return nil, fmt.Errorf("%w: its section %s is not known here: use millrace %.40q or later", ErrNewer, s.name, b.Manifest.Millrace)
		case p == nil:
			b.extra = append(b.extra, section{name: s.name, data: bytes.Clone(s.data)})
			continue
		case s.critical == p.optional || len(s.data) > p.limit:
			return nil, fmt.Errorf("%w: section %s: it is %s, or larger than %d bytes", ErrCorrupt, s.name, s.kind(), p.limit)
		}
		if err := p.read(b, s.data); err != nil {
			if errors.Is(err, feature.ErrFunction) {
				return nil, fmt.Errorf("section %s: %w", s.name, err) // the bundle is as it should be
			}
			return nil, fmt.Errorf("%w: section %s: %w", ErrCorrupt, s.name, err)
		}
		delete(known, s.name)
	}
	for _, p := range parts() {
		if known[p.name] != nil && !p.optional {
			return nil, fmt.Errorf("%w: its section %s is missing: if millrace %.40q did not write it yet, train the model again", ErrCorrupt, p.name, b.Manifest.Millrace)
		}
	}
	if err := b.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return b, nil
}
