//go:build unix

package objects

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"millrace.dev/e2e/s3test"
)

// The credentials of the servers that the tests start.
const (
	testAccessKey = s3test.AccessKey
	testSecretKey = s3test.SecretKey
)

// realLocation starts a real server.
func realLocation(t *testing.T) string {
	t.Helper()
	return s3test.Start(t).Location("team/a")
}

// TestRefusals has a real server refuse what package fakes3 is told to.
func TestRefusals(t *testing.T) {
	t.Parallel()
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		server := s3test.Start(t)
		other := strings.Replace(server.Location("x"), "models", "no-such-bucket", 1)
		for name, tc := range map[string]struct{ location, key, secret, want string }{
			"no bucket":        {other, s3test.AccessKey, s3test.SecretKey, "there is no such bucket"},
			"no key":           {server.Location("x"), "", "", "there are no credentials for it"},
			"unknown key":      {server.Location("x"), "nobody", s3test.SecretKey, "does not accept the credentials"},
			"wrong secret":     {server.Location("x"), s3test.AccessKey, "hunter2", "does not accept the credentials"},
			"without a region": {strings.Replace(server.Location("x"), "&region="+s3test.Region, "", 1), s3test.AccessKey, s3test.SecretKey, ""},
		} {
			a, err := ParseAddress(tc.location)
			if err != nil {
				t.Fatal(err)
			}
			b, err := newBucket(a, server.URL(), credentials.NewStaticV4(tc.key, tc.secret, ""), newTransport(patient()))
			if err != nil {
				t.Fatal(err)
			}
			_, listErr := b.List(t.Context(), "events", "")
			createErr := b.Create(t.Context(), "events/1", []byte("x"))
			for _, err := range []error{listErr, createErr} {
				if tc.want == "" && err != nil || tc.want != "" && (!errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2")) {
					t.Errorf("%s: got %v, want %q", name, err, tc.want)
				}
			}
		}
		server.Stop()
		if err := open(t, server.Location("x")).Create(t.Context(), "events/2", nil); !errors.Is(err, ErrUnreachable) || errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
	})
}
