package model

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// The bytes that docs/formats/bundle.md shows.
const documented = "millrace bundle 1, for millrace 0.1 or later\n" +
	"manifest critical 3 ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356\n" +
	"note optional 6 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\n" +
	"\n" +
	"{}\nhello\n" +
	"sha256 "

func TestPackIsAsDocumented(t *testing.T) {
	t.Parallel()
	got := string(pack([]section{{"manifest", true, []byte("{}\n")}, {"note", false, []byte("hello\n")}}))
	if body := got[:len(got)-65]; body != documented {
		t.Errorf("%s", cmp.Diff(documented, body))
	}
}

func TestUnpackRefuses(t *testing.T) {
	t.Parallel()
	sum := func(s string) string { return seal([]byte(s))[len(sealPrefix):] }
	entry := func(name, size, content string) string {
		return name + " critical " + size + " " + sum(content)
	}
	manifest := entry("manifest", "1", "m")
	for name, tc := range map[string]struct{ body, want string }{
		"empty line":        {firstLine, "does not end"},
		"no index":          {firstLine + "\n", "not the manifest"},
		"index not ended":   {firstLine + manifest, "out of order|does not end"},
		"endless line":      {firstLine + strings.Repeat("x", 200) + "\n\n", "does not end"},
		"words":             {firstLine + "manifest critical 1\n\nm", "not one"},
		"kind":              {firstLine + strings.Replace(manifest, "critical", "crucial", 1) + "\nm", "not one"},
		"name":              {firstLine + entry("Manifest", "1", "m") + "\nm", "not one"},
		"long name":         {firstLine + entry(strings.Repeat("m", 33), "1", "m") + "\nm", "not one"},
		"leading zero":      {firstLine + entry("manifest", "01", "m") + "\nm", "not one"},
		"plus":              {firstLine + entry("manifest", "+1", "m") + "\nm", "not one"},
		"negative":          {firstLine + entry("manifest", "-1", "m") + "\nm", "not one"},
		"overflow":          {firstLine + entry("manifest", "18446744073709551617", "m") + "\nm", "not one"},
		"huge":              {firstLine + entry("manifest", "9223372036854775807", "m") + "\nm", "but 1 are left"},
		"too short":         {firstLine + entry("manifest", "2", "m") + "\nm", "but 1 are left"},
		"too long":          {firstLine + manifest + "\nmm", "belong to no section"},
		"section sum":       {firstLine + entry("manifest", "1", "x") + "\nm", "section manifest: its checksum"},
		"upper-case sum":    {firstLine + strings.ToUpper(manifest[len("manifest critical "):]) + "\nm", "not one"},
		"other first":       {firstLine + entry("plan", "1", "m") + "\nm", "not the manifest"},
		"twice":             {firstLine + manifest + manifest + "\nmm", "out of order"},
		"not sorted":        {firstLine + manifest + entry("plan", "0", "") + entry("forest", "0", "") + "\nm", "section forest is out of order"},
		"too many sections": {firstLine + manifest + many(64) + "\nm", "more than 64"},
		"first line":        {"millrace bundle one\n\n", "first line"},
		"format 0":          {"millrace bundle 0, for millrace 0.1 or later\n\n", "first line"},
		"other words":       {"millrace bundle 1, for millrace 0.2 or later\n\n", "first line"},
		"tricky version":    {"millrace bundle 2, for millrace \x1b[31m or later\n\n", "first line"},
		"later format":      {"millrace bundle 2, for millrace 3.1 or later\n\n", "it has format 2, this millrace reads format 1: use millrace 3.1 or later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := unpack([]byte(tc.body+seal([]byte(tc.body))), DefaultMaxBytes)
			want := ErrCorrupt
			if name == "later format" {
				want = ErrNewer
			}
			ok := false
			for text := range strings.SplitSeq(tc.want, "|") {
				ok = ok || err != nil && strings.Contains(err.Error(), text)
			}
			if !ok || !errors.Is(err, want) {
				t.Errorf("got %v, want %v with %q", err, want, tc.want)
			}
		})
	}
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "s%03d critical 0 %s", i, seal(nil)[len(sealPrefix):])
	}
	return b.String()
}

func TestUnpackReturnsWhatWasPacked(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z][a-z0-9_]{0,31}`), 0, 63, rapid.ID).Draw(t, "names")
		in := []section{{name: partManifest, critical: true, data: []byte{}}}
		for _, n := range sortedWithout(names, partManifest) {
			in = append(in, section{n, rapid.Bool().Draw(t, "critical"), rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "data")})
		}
		out, err := unpack(pack(in), DefaultMaxBytes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(in, out, cmp.AllowUnexported(section{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

func sortedWithout(names []string, name string) []string {
	names = slices.DeleteFunc(names, func(s string) bool { return s == name })
	slices.Sort(names)
	return names
}
