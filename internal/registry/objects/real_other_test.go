//go:build !unix

package objects

import (
	"testing"

	"millrace.dev/internal/testenv"
)

const (
	testAccessKey = "key"
	testSecretKey = "a-secret"
)

func realLocation(t *testing.T) string {
	t.Helper()
	testenv.Missing(t, "s3", "the server for tests is started on Unix only")
	return ""
}
