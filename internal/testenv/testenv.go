// Package testenv tells tests what the machine that runs them has.
//
// MILLRACE_REQUIRE lists, separated by commas, what a run must not do without: a test that lacks such a thing
// fails instead of being skipped. The names are kafka (Java and Maven, for real brokers), s3 (bin/versitygw, a real
// S3 server), data (the folder that MILLRACE_DATA names), vectors (the folder that MILLRACE_VECTORS names),
// airflow (Python 3.11 and its packages), pypi (Python and packages of clients and servers) and chromium (a
// browser, to look at pages).
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
	return folder(t, "data", "MILLRACE_DATA", "housedata.csv")
}

// Vectors returns the folder of the conformance vectors, which are not part of the repository: MILLRACE_VECTORS, which
// counts from the repository where it is relative. Default: ../shared/vectors. Where there is no such folder it calls
// [Missing].
func Vectors(t testing.TB) string {
	t.Helper()
	return folder(t, "vectors", "MILLRACE_VECTORS", "kstreams/*.json")
}

// folder returns the folder that a variable names.
func folder(t testing.TB, what, variable, holds string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		dir = filepath.Join("..", "shared", what)
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(Root(t), dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		Missing(t, what, "there is no folder "+dir+": set "+variable+" to the folder that holds "+holds)
	}
	return dir
}

// Root returns the repository's folder: the nearest one above the test's that holds a go.mod.
func Root(t testing.TB) string {
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

// Asked ends the test, with a skip, unless MILLRACE_REQUIRE names what: for what takes minutes and no default run does.
func Asked(t testing.TB, what, how string) {
	t.Helper()
	if !required(os.Getenv("MILLRACE_REQUIRE"), what) {
		t.Skipf("MILLRACE_REQUIRE does not name %s: %s", what, how)
	}
}

// Documented holds the part of a document between two lines to what it is to be, or writes it there. The file is relative to
// the repository's folder.
func Documented(t testing.TB, file, begin, end, want string, write bool) {
	t.Helper()
	path := filepath.Join(Root(t), file)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), begin+"\n")
	_, after, also := strings.Cut(rest, end+"\n")
	if !ok || !also {
		t.Fatalf("%s has no part between the lines %q and %q", file, begin, end)
	}
	all := before + begin + "\n" + want + end + "\n" + after
	switch {
	case all == string(b):
	case !write:
		t.Errorf("the part of %s after %q is not what it is to be: run the test with -update", file, begin)
	default:
		if err := os.WriteFile(path, []byte(all), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
}
