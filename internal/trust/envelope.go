package trust

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const (
	maxPayload    = 32 << 10 // bytes; an envelope fits into an event of the registry
	maxSignatures = 64
)

// Envelope is a payload with signatures: DSSE, version 1. In JSON the payload and the signatures are base64.
type Envelope struct {
	// PayloadType says what the payload is; signatures cover it.
	PayloadType string `json:"payloadType"`
	// Payload is what was signed, byte for byte.
	Payload []byte `json:"payload"`
	// Signatures are those of one or more keys.
	Signatures []Signature `json:"signatures"`
}

// Signature is one signature of an envelope.
type Signature struct {
	// KeyID is the [PublicKey.ID] of who is said to have signed; the signature does not cover it.
	KeyID string `json:"keyid"`
	// Sig is the signature.
	Sig []byte `json:"sig"`
}

// encoding returns what is signed: PAE of protocol.md of DSSE, "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body.
func encoding(payloadType string, payload []byte) []byte {
	b := []byte("DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " ")
	return append(b, payload...)
}

// seal returns the envelope of a payload, signed by one key.
func seal(payloadType string, payload []byte, k *Key) *Envelope {
	e := &Envelope{PayloadType: payloadType, Payload: payload}
	e.add(k)
	return e
}

// add adds the signature of k, in the place of one that it has made before.
func (e *Envelope) add(k *Key) {
	s := Signature{KeyID: k.public.id, Sig: k.sign(encoding(e.PayloadType, e.Payload))}
	for i := range e.Signatures {
		if e.Signatures[i].KeyID == s.KeyID {
			e.Signatures[i] = s
			return
		}
	}
	e.Signatures = append(e.Signatures, s)
}

// problem says why the envelope cannot be one of a payload of this type; "" if it can.
func (e *Envelope) problem(payloadType string) string {
	switch {
	case e == nil:
		return "there is no envelope"
	case e.PayloadType != payloadType:
		return fmt.Sprintf("the envelope is of the type %.80q, want %q", e.PayloadType, payloadType)
	case len(e.Payload) > maxPayload:
		return fmt.Sprintf("what the envelope holds has %d bytes, the limit is %d", len(e.Payload), maxPayload)
	case len(e.Signatures) > maxSignatures:
		return fmt.Sprintf("the envelope has %d signatures, the limit is %d", len(e.Signatures), maxSignatures)
	}
	return ""
}

// signers returns which of the keys have signed the envelope, each once.
func (e *Envelope) signers(keys []PublicKey) []PublicKey {
	var who []PublicKey
	message := encoding(e.PayloadType, e.Payload)
	for _, k := range keys {
		for _, s := range e.Signatures {
			if s.KeyID == k.id && k.verify(message, s.Sig) {
				who = append(who, k)
				break
			}
		}
	}
	return who
}

// decode reads JSON that is one value and has no other keys than into, each once. A key twice, or in other letters, would have
// two readers see two documents: this one takes the last, and does not tell large letters from small ones.
func decode(text []byte, into any) error {
	if err := plainKeys(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("%w: something follows the JSON", ErrInvalid)
	}
	return nil
}

// plainKey tells whether a key has small letters as the keys here do, apart from those of other formats.
func plainKey(key string) bool {
	return key == "payloadType" || key == "predicateType" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// plainKeys wants the keys of the next value to be plain, and none to be twice in an object.
func plainKeys(d *json.Decoder) error {
	t, err := d.Token()
	if err != nil {
		return err
	}
	switch t {
	case json.Delim('['):
		for d.More() {
			if err := plainKeys(d); err != nil {
				return err
			}
		}
	case json.Delim('{'):
		seen := map[string]bool{}
		for d.More() {
			t, err := d.Token()
			if err != nil {
				return err
			}
			key, ok := t.(string)
			if !ok || seen[key] || !plainKey(key) {
				return fmt.Errorf("the key %.80q is there twice, or is not written as it should be", fmt.Sprint(t))
			}
			seen[key] = true
			if err := plainKeys(d); err != nil {
				return err
			}
		}
	default:
		return nil
	}
	_, err = d.Token() // the end
	return err
}

// encode returns v as JSON that leaves <, > and & as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	if err := w.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
