//go:build unix

package registry

import (
	"testing"

	"millrace.dev/e2e/s3test"
)

// The credentials of the servers that the tests start.
const (
	testAccessKey = s3test.AccessKey
	testSecretKey = s3test.SecretKey
)

// s3Place is a bucket of a real server.
func s3Place(t *testing.T) place {
	t.Helper()
	return place{s3test.Start(t).Location("team/a")}
}
