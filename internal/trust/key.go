package trust

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Errors of this package, to be told apart with [errors.Is].
var (
	// ErrInvalid means that a file or a text is not what it should be.
	ErrInvalid = errors.New("invalid")
	// ErrUntrusted means that a signature, or who made it, is not good enough for what it is on.
	ErrUntrusted = errors.New("not trusted")
)

const (
	maxKeyFile   = 16 << 10 // bytes
	pemPrivate   = "PRIVATE KEY"
	pemPublic    = "PUBLIC KEY"
	privatePerms = 0o077 // what nobody but the owner of a private key may do
)

// PublicKey is an ed25519 public key. Its text, in JSON, is the base64 of its SubjectPublicKeyInfo, which is the middle line of
// its PEM file.
type PublicKey struct {
	key ed25519.PublicKey
	id  string
	der []byte
}

func newPublicKey(key ed25519.PublicKey) (PublicKey, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, err
	}
	sum := sha256.Sum256(der)
	return PublicKey{key, hex.EncodeToString(sum[:]), der}, nil
}

func parsePublicKey(der []byte) (PublicKey, error) {
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: no public key: %w", ErrInvalid, err)
	}
	ed, ok := key.(ed25519.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("%w: the public key is not one of ed25519", ErrInvalid)
	}
	return newPublicKey(ed)
}

// ParsePublicKey reads a PEM block "PUBLIC KEY" (PKIX). An error matches [ErrInvalid].
func ParsePublicKey(text []byte) (PublicKey, error) {
	block, err := onlyBlock(text, pemPublic)
	if err != nil {
		return PublicKey{}, err
	}
	return parsePublicKey(block)
}

// onlyBlock returns the content of a text that is one PEM block.
func onlyBlock(text []byte, kind string) ([]byte, error) {
	block, _ := pem.Decode(text)
	switch {
	case len(text) > maxKeyFile || block == nil:
		return nil, fmt.Errorf("%w: it holds no key in PEM", ErrInvalid)
	case block.Type != kind:
		return nil, fmt.Errorf("%w: it holds a %.40q, want a %q", ErrInvalid, block.Type, kind)
	}
	return block.Bytes, nil
}

// ID returns the name of the key in signatures: the SHA-256, in hex, of its SubjectPublicKeyInfo in DER, as Sigstore
// has it. `openssl pkey -pubin -in KEY.pub -outform DER | sha256sum` prints the same.
func (k PublicKey) ID() string { return k.id }

// IsZero tells whether k is no key.
func (k PublicKey) IsZero() bool { return k.key == nil }

// Equal tells whether two keys are the same.
func (k PublicKey) Equal(other PublicKey) bool { return k.id == other.id }

// PEM returns the key as [ParsePublicKey] reads it.
func (k PublicKey) PEM() []byte { return pem.EncodeToMemory(&pem.Block{Type: pemPublic, Bytes: k.der}) }

// MarshalText returns the text of the key.
func (k PublicKey) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString(k.der)), nil
}

// UnmarshalText reads the text of a key. An error matches [ErrInvalid].
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) > maxKeyFile {
		return fmt.Errorf("%w: a public key of %d bytes", ErrInvalid, len(text))
	}
	der, err := base64.StdEncoding.DecodeString(string(text))
	if err != nil {
		return fmt.Errorf("%w: a public key is the base64 in its .pub file: %w", ErrInvalid, err)
	}
	*k, err = parsePublicKey(der)
	return err
}

// verify tells whether sig is the key's signature of message.
func (k PublicKey) verify(message, sig []byte) bool {
	return len(k.key) == ed25519.PublicKeySize && len(sig) == ed25519.SignatureSize && ed25519.Verify(k.key, message, sig)
}

// Key is an ed25519 private key. It prints as its public key's ID.
type Key struct {
	private ed25519.PrivateKey
	public  PublicKey
}

// NewKey makes a key from the system's source of randomness.
func NewKey() (*Key, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return newKey(public, private)
}

func newKey(public ed25519.PublicKey, private ed25519.PrivateKey) (*Key, error) {
	p, err := newPublicKey(public)
	if err != nil {
		return nil, err
	}
	return &Key{private, p}, nil
}

// ParseKey reads a PEM block "PRIVATE KEY" (PKCS #8), not encrypted. An error matches [ErrInvalid], and holds nothing of the
// key.
func ParseKey(text []byte) (*Key, error) {
	der, err := onlyBlock(text, pemPrivate)
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%w: no private key in PKCS #8", ErrInvalid)
	}
	private, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: the private key is not one of ed25519", ErrInvalid)
	}
	public, ok := private.Public().(ed25519.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: the private key has no public one", ErrInvalid)
	}
	return newKey(public, private)
}

// ReadPublicKey reads the file of a public key. An error matches [ErrInvalid], or is one of package os.
func ReadPublicKey(path string) (PublicKey, error) {
	text, err := readSmall(path)
	if err != nil {
		return PublicKey{}, err
	}
	return ParsePublicKey(text)
}

// readSmall reads a file of the size of a key.
func readSmall(path string) ([]byte, error) {
	if err := regular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return io.ReadAll(io.LimitReader(f, maxKeyFile+1))
}

// ReadKey reads the file of a private key. On Unix it refuses one that others than its owner may read or write. An error
// matches [ErrInvalid], or is one of package os.
func ReadKey(path string) (*Key, error) {
	if err := regular(path); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if perm := info.Mode().Perm(); runtime.GOOS != "windows" && perm&privatePerms != 0 {
		return nil, fmt.Errorf("%w: others than its owner may read it (%v): chmod 600 it; if they may have read it, make a new key", ErrInvalid, perm)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	return ParseKey(text)
}

// regular wants a file that ends: opening a named pipe waits for a writer.
func regular(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: it is not a file", ErrInvalid)
	}
	return err
}

// PEM returns the key as [ParseKey] reads it: a secret.
func (k *Key) PEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}), nil
}

// Public returns the key that signatures are verified with.
func (k *Key) Public() PublicKey { return k.public }

// String returns the ID of the public key.
func (k *Key) String() string { return k.public.id }

// GoString returns what String does.
func (k *Key) GoString() string { return k.public.id }

func (k *Key) sign(message []byte) []byte { return ed25519.Sign(k.private, message) }
