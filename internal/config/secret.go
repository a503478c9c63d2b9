package config

import (
	"fmt"
	"io"
	"os"
	"strings"

	"millrace.dev/internal/secret"
)

// maxSecret bounds the file of a secret, in bytes.
const maxSecret = 64 << 10

// readSecret reads a secret from a file, without the line break at its end.
func readSecret(path string) (secret.Text, error) {
	f, err := os.Open(path)
	if err != nil {
		return secret.Text{}, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return secret.Text{}, err
	}
	if len(b) > maxSecret {
		return secret.Text{}, fmt.Errorf("%s: larger than %d bytes", path, maxSecret)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
	if text == "" {
		return secret.Text{}, fmt.Errorf("%s: the file is empty", path)
	}
	return secret.New(text), nil
}
