package trust

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
)

// SignedRoot is a root document with its signatures. What [ParseRoot] and [FromEnvelope] return need not be signed by
// anyone yet: [SignedRoot.Check] tells.
type SignedRoot struct {
	Root

	envelope *Envelope
}

// ReadRoot reads the file of a root document, signed or not. An error matches [ErrInvalid], or is one of package os.
func ReadRoot(path string) (*SignedRoot, error) {
	if err := regular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	text, err := io.ReadAll(io.LimitReader(f, 2*maxPayload+1))
	if err != nil {
		return nil, err
	}
	return ParseRoot(text)
}

// ParseRoot reads a root document, or an envelope that holds one. An error matches [ErrInvalid].
func ParseRoot(text []byte) (*SignedRoot, error) {
	if len(text) > 2*maxPayload {
		return nil, fmt.Errorf("%w: a root document of more than %d bytes", ErrInvalid, maxPayload)
	}
	var head struct {
		PayloadType string `json:"payloadType"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, fmt.Errorf("%w: no root document: %w", ErrInvalid, err)
	}
	e := &Envelope{PayloadType: rootPayload, Payload: text}
	if head.PayloadType != "" {
		e = &Envelope{}
		if err := decode(text, e); err != nil {
			return nil, err
		}
	}
	return FromEnvelope(e)
}

// FromEnvelope returns the root document in an envelope. An error matches [ErrInvalid].
func FromEnvelope(e *Envelope) (*SignedRoot, error) {
	if p := e.problem(rootPayload); p != "" {
		return nil, fmt.Errorf("%w: no root document: %s", ErrInvalid, p)
	}
	r := &SignedRoot{envelope: e}
	if err := decode(e.Payload, &r.Root); err != nil {
		return nil, fmt.Errorf("no root document: %w", err)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return r, nil
}

// Sign adds the signature of a root key. An error matches [ErrInvalid].
func (r *SignedRoot) Sign(k *Key, before *SignedRoot) error {
	if err := r.mayRoot(k.public, before); err != nil {
		return err
	}
	r.envelope.add(k)
	return nil
}

func (r *SignedRoot) mayRoot(k PublicKey, before *SignedRoot) error {
	keys := r.RootKeys
	if before != nil {
		keys = append(append([]PublicKey{}, keys...), before.RootKeys...)
	}
	for _, root := range keys {
		if root.Equal(k) {
			return nil
		}
	}
	if before == nil && r.Version > 1 {
		return fmt.Errorf("%w: %s is no root key of version %d: name the version before it, if it is one of that", ErrInvalid, short(k.id), r.Version)
	}
	return fmt.Errorf("%w: %s is no root key", ErrInvalid, short(k.id))
}

// Signed returns how many of the document's own root keys have signed it.
func (r *SignedRoot) Signed() int { return len(r.envelope.signers(r.RootKeys)) }

// Check wants the signatures of Threshold of the document's own root keys. The error matches [ErrUntrusted].
func (r *SignedRoot) Check() error {
	if n := r.Signed(); n < r.Threshold {
		return fmt.Errorf("%w: root %d has %d of the %d signatures that it needs from its root keys", ErrUntrusted, r.Version, n, r.Threshold)
	}
	return nil
}

// Follows wants a document that may take the place of another: the next version of it, signed as both demand. The error
// matches [ErrUntrusted].
func (r *SignedRoot) Follows(before *SignedRoot) error {
	if r.Version != before.Version+1 {
		return fmt.Errorf("%w: root %d does not follow root %d", ErrUntrusted, r.Version, before.Version)
	}
	if r.Previous != before.Digest() {
		return fmt.Errorf("%w: root %d was made to follow another root %d", ErrUntrusted, r.Version, before.Version)
	}
	if n := len(r.envelope.signers(before.RootKeys)); n < before.Threshold {
		return fmt.Errorf("%w: root %d has %d of the %d signatures that it needs from the root keys of version %d", ErrUntrusted, r.Version, n, before.Threshold, before.Version)
	}
	return r.Check()
}

// Digest returns "sha256:" and the SHA-256, in hex, of the bytes of the document that were signed.
func (r *SignedRoot) Digest() string { return digestOf(r.envelope.Payload) }

// Envelope returns the envelope, which must not be changed.
func (r *SignedRoot) Envelope() *Envelope { return r.envelope }

// EncodeSigned returns the document with its signatures as the text of a file.
func (r *SignedRoot) EncodeSigned() ([]byte, error) {
	if len(r.envelope.Signatures) == 0 {
		return nil, errors.New("root: nobody has signed it")
	}
	text, err := json.MarshalIndent(r.envelope, "", "  ")
	return append(text, '\n'), err
}

// Next returns the document of the next version, to be changed.
func (r *SignedRoot) Next() *Root {
	next := r.Root
	next.Version++
	next.Previous = r.Digest()
	return &next
}
