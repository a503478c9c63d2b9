//go:build synctests

package testenv

import (
	"testing"
	"testing/synctest"
)

// FakeTime tells whether [InTime] has time cost nothing.
const FakeTime = true

// InTime runs fn in fake time under the build tag synctests, with which the client library waits in ways that package synctest
// understands, and else in real time.
func InTime(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, fn)
}
