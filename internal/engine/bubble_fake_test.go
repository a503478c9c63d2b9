//go:build synctests

package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

// Under this build tag the client library waits in ways that package synctest understands: tests run in fake time,
// with the timeouts of production.
const sessionTimeout, transactionTimeout = 6 * time.Second, 5 * time.Second

func inTime(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}
