//go:build !unix

package registry

import (
	"testing"

	"millrace.dev/internal/testenv"
)

const (
	testAccessKey = "key"
	testSecretKey = "secret"
)

func s3Place(t *testing.T) place {
	t.Helper()
	testenv.Missing(t, "s3", "the server for tests is started on Unix only")
	return place{}
}
