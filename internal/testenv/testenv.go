// Package testenv tells tests what the machine that runs them has.
//
// MILLRACE_REQUIRE lists, separated by commas, what a run must not do without: a test that lacks such a thing
// fails instead of being skipped. The names are kafka (Java and Maven, for real brokers) and data (the folder
// that MILLRACE_DATA names).
package testenv

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Missing ends the test because the machine lacks what: with a skip, or with a failure where MILLRACE_REQUIRE
// names it. How says what to install or to set. It must run on the test's goroutine.
func Missing(t testing.TB, what, how string) {
	t.Helper()
	if required(os.Getenv("MILLRACE_REQUIRE"), what) {
		t.Fatalf("%s is missing, and MILLRACE_REQUIRE asks for it: %s", what, how)
	}
	t.Skipf("%s is missing: %s", what, how)
}

func required(list, what string) bool {
	return slices.ContainsFunc(strings.Split(list, ","), func(s string) bool { return strings.TrimSpace(s) == what })
}

// Data returns the folder of the data sets that are not part of the repository: MILLRACE_DATA, which counts from
// the repository where it is relative. Default: ../shared/data. Where there is no such folder it calls [Missing].
func Data(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("MILLRACE_DATA")
	if dir == "" {
		dir = filepath.Join("..", "shared", "data")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root(t), dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		Missing(t, "data", "there is no folder "+dir+": set MILLRACE_DATA to the folder that holds housedata.csv")
	}
	return dir
}

// root returns the repository's folder: the nearest one above the test's that holds a go.mod.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = up
	}
}
