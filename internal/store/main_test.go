package store

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(3)
	}
	if os.Getenv(aloneEnv) != "" {
		os.Exit(m.Run())
	}
	goleak.VerifyTestMain(m)
}
