package oip

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestCompression(t *testing.T) {
	t.Parallel()
	var c Compressor
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for _, encoding := range []string{Gzip, Deflate} {
				for _, text := range []string{"", "a", strings.Repeat("some text ", 10_000)} {
					packed, err := c.Compress([]byte("before"), encoding, []byte(text))
					if err != nil {
						t.Fatal(err)
					}
					packed, ok := bytes.CutPrefix(packed, []byte("before"))
					got, err := Decompress(encoding, bytes.NewReader(packed), int64(len(text)))
					if !ok || err != nil || string(got) != text {
						t.Errorf("%s of %d bytes: %v", encoding, len(text), err)
					}
				}
			}
		})
	}
	all.Wait()
}

func TestDecompressRefused(t *testing.T) {
	t.Parallel()
	var c Compressor
	packed := func(encoding string, size int) []byte {
		b, err := c.Compress(nil, encoding, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	bare := new(bytes.Buffer)
	w, err := flate.NewWriter(bare, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(func() error { _, err := w.Write([]byte("x")); return err }(), w.Close()); err != nil {
		t.Fatal(err)
	}
	broken := packed(Gzip, 1000)
	broken[len(broken)-5]++ // of the checksum
	for name, c := range map[string]struct {
		encoding string
		body     []byte
		status   int
	}{
		"an unknown encoding":     {"br", nil, 415},
		"two encodings":           {"gzip, deflate", packed(Gzip, 1), 415},
		"a bomb":                  {Gzip, packed(Gzip, 10<<20), 413},
		"a bomb of zlib":          {Deflate, packed(Deflate, 10<<20), 413},
		"one byte too many":       {Gzip, packed(Gzip, 1001), 413},
		"too long, as it is":      {"", make([]byte, 1001), 413},
		"not gzip":                {Gzip, []byte("some text that is not"), 400},
		"not zlib":                {Deflate, []byte("some text that is not"), 400},
		"bare deflate":            {Deflate, bare.Bytes(), 400},
		"cut off":                 {Gzip, packed(Gzip, 1000)[:20], 400},
		"nothing":                 {Gzip, nil, 400},
		"a checksum that is none": {Gzip, broken, 400},
	} {
		_, err := Decompress(c.encoding, bytes.NewReader(c.body), 1000)
		var e *Error
		if !errors.As(err, &e) || e.Status != c.status {
			t.Errorf("%s: %v, want status %d", name, err, c.status)
		}
	}
	for _, encoding := range []string{"", "identity", " GZIP "} {
		body := []byte("x")
		if strings.TrimSpace(encoding) == "GZIP" {
			body = packed(Gzip, 1)
		}
		if got, err := Decompress(encoding, bytes.NewReader(body), 1); err != nil || len(got) != 1 {
			t.Errorf("%q: %q, %v", encoding, got, err)
		}
	}
	own := errors.New("of the reader")
	if _, err := Decompress("", io.MultiReader(strings.NewReader("x"), failing{own}), 1000); !errors.Is(err, own) {
		t.Errorf("%v, want the reader's", err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAcceptedEncoding(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]string{
		"":                           "",
		"identity":                   "",
		"br, zstd":                   "",
		"gzip":                       Gzip,
		"deflate":                    Deflate,
		"gzip, deflate, br, zstd":    Gzip,
		"deflate, gzip":              Gzip,
		"deflate;q=1.0, gzip;q=0.5":  Deflate,
		"GZIP":                       Gzip,
		"gzip;q=0":                   "",
		"gzip;q=0, deflate;q=0.1":    Deflate,
		"gzip;q=x":                   "",
		"gzip;q=NaN, deflate; q=0.5": Deflate,
	} {
		if got := AcceptedEncoding(header); got != want {
			t.Errorf("AcceptedEncoding(%q) = %q, want %q", header, got, want)
		}
	}
}
