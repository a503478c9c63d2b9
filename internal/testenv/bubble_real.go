//go:build !synctests

package testenv

import "testing"

// FakeTime tells whether [InTime] has time cost nothing.
const FakeTime = false

// InTime runs fn in real time: under the build tag synctests it does so in fake time.
func InTime(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	fn(t)
}
