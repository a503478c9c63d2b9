package registry

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/internal/durable"
	"millrace.dev/model"
)

// filled returns the folder of a registry with two versions and five events.
func filled(t *testing.T) string {
	t.Helper()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))
	mustRegister(t, r, f.make(2))
	mustApprove(t, r, "@1")
	mustApprove(t, r, "@2")
	mustReject(t, r, "@1")
	return r.Location()
}

// overwrite replaces a file that is not meant to be.
func overwrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o444); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The event that docs/formats/registry.md shows.
const documented = `{"format":1,"seq":2,"prev":"sha256:04ca4dfec33c4a8e2cb2a0b52bb4d5d0ae2ff35a2d55ef3ba2ab3f1b1e5cd1a5",` +
	`"time":"2014-07-10T19:00:02Z","actor":"anna","action":"approve","model":"house-prices","version":3,` +
	`"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","reason":"RMSE < 200,000",` +
	`"sum":"sha256:e7ecb00fa0316a4f6ddd45132c7a2d00257e5e4072946fad4f1e9d75680a5189"}` + "\n"

func TestEventIsAsDocumented(t *testing.T) {
	t.Parallel()
	e := Event{
		Format: 1, Seq: 2, Prev: "sha256:04ca4dfec33c4a8e2cb2a0b52bb4d5d0ae2ff35a2d55ef3ba2ab3f1b1e5cd1a5",
		Time: time.Date(2014, 7, 10, 19, 0, 2, 0, time.UTC), Actor: "anna", Action: Approved,
		Model: "house-prices", Version: 3, Digest: model.Digest(nil), Reason: "RMSE < 200,000",
	}
	data, err := e.encode()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documented, string(data)); diff != "" {
		t.Error(diff)
	}
	back, err := decodeEvent(data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&e, back); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFlippedByteOfTheLogIsFound(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	for seq := 1; seq <= 5; seq++ {
		path := folder{dir: dir}.event(seq)
		good := read(t, path)
		for i := range good {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			if _, err := decodeEvent(bad); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("event %d, byte %d: %v", seq, i, err)
			}
			if _, err := decodeEvent(good[:i]); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("event %d cut off after %d bytes: %v", seq, i, err)
			}
			if i%40 != seq {
				continue
			}
			overwrite(t, path, bad)
			if _, err := Open(dir, Options{}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path) {
				t.Fatalf("event %d, byte %d: %v", seq, i, err)
			}
		}
		overwrite(t, path, good)
	}
	mustVerify(t, openDir(t, dir))
}

func TestTamperedLogs(t *testing.T) {
	t.Parallel()
	// forge replaces event seq by one with a right sum.
	forge := func(seq int, change func(*Event)) func(*testing.T, folder) {
		return func(t *testing.T, f folder) {
			t.Helper()
			e, err := decodeEvent(read(t, f.event(min(seq, 5))))
			if err != nil {
				t.Fatal(err)
			}
			if seq > 5 {
				e.Seq, e.Prev = seq, e.Sum
			} else if err := os.Remove(f.event(seq)); err != nil {
				t.Fatal(err)
			}
			change(e)
			data, err := e.encode()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(f.event(seq), data, 0o444); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tc := range map[string]struct {
		tamper func(*testing.T, folder)
		want   error
		text   string
	}{
		"removed": {func(t *testing.T, f folder) { t.Helper(); remove(t, f.event(2)) }, ErrCorrupt, "000000002.json is missing"},
		"swapped": {func(t *testing.T, f folder) {
			t.Helper()
			a, b := read(t, f.event(3)), read(t, f.event(4))
			overwrite(t, f.event(3), b)
			overwrite(t, f.event(4), a)
		}, ErrCorrupt, "000000003.json"},
		"copied":          {func(t *testing.T, f folder) { t.Helper(); overwrite(t, f.event(4), read(t, f.event(3))) }, ErrCorrupt, "000000004.json"},
		"grown":           {func(t *testing.T, f folder) { t.Helper(); overwrite(t, f.event(4), make([]byte, maxEvent+1)) }, ErrCorrupt, "000000004.json"},
		"first rewritten": {forge(1, func(e *Event) { e.Actor = "eve" }), ErrCorrupt, "000000002.json: damaged registry: it does not follow"},
		"third rewritten": {forge(3, func(e *Event) { e.Reason = "fine" }), ErrCorrupt, "000000004.json: damaged registry: it does not follow"},
		"not first":       {forge(1, func(e *Event) { e.Prev = e.Digest }), ErrCorrupt, "000000001.json"},
		"no actor":        {forge(6, func(e *Event) { e.Actor, e.Version = "", 2 }), ErrCorrupt, "no actor"},
		"no name":         {forge(6, func(e *Event) { e.Model = "../x" }), ErrCorrupt, "no model"},
		"no digest":       {forge(6, func(e *Event) { e.Digest = "sha256:" }), ErrCorrupt, "no digest"},
		"rejected again":  {forge(6, func(*Event) {}), ErrCorrupt, "does not fit house-prices@1"},
		"approved again":  {forge(6, func(e *Event) { e.Action = Approved }), ErrCorrupt, "does not fit house-prices@1"},
		"no such version": {forge(6, func(e *Event) { e.Version = 3 }), ErrCorrupt, "house-prices@3, which is not registered"},
		"no such model":   {forge(6, func(e *Event) { e.Model = "rents" }), ErrCorrupt, "rents@1, which is not registered"},
		"other digest":    {forge(6, func(e *Event) { e.Version = 2 }), ErrCorrupt, "does not fit house-prices@2"},
		"no reason":       {forge(5, func(e *Event) { e.Reason = "" }), ErrCorrupt, "does not fit house-prices@1"},
		"escape codes":    {forge(5, func(e *Event) { e.Reason = "\x1b[2J" }), ErrCorrupt, "does not fit house-prices@1"},
		"padded actor":    {forge(6, func(e *Event) { e.Actor += " " }), ErrCorrupt, "no actor"},
		"no action":       {forge(5, func(e *Event) { e.Action = "bless" }), ErrCorrupt, `its action is "bless"`},
		"version jumps":   {forge(6, func(e *Event) { e.Action, e.Version, e.Bytes = Registered, 9, 1 }), ErrCorrupt, "registers house-prices@9"},
		"no bytes":        {forge(6, func(e *Event) { e.Action, e.Version, e.Bytes = Registered, 3, 0 }), ErrCorrupt, "of 0 bytes"},
		"wrong number":    {forge(6, func(e *Event) { e.Seq = 7 }), ErrCorrupt, "says that it is event 7"},
		"not approved":    {forge(4, func(e *Event) { e.Action = Promoted }), ErrCorrupt, "it promotes house-prices@2, which is candidate"},
		"later format":    {forge(6, func(e *Event) { e.Format = 5 }), ErrNewer, "it has format 5, this millrace reads format 4"},
		"trial's format":  {forge(6, func(e *Event) { e.Format, e.Action, e.Version = 3, Retired, 2 }), ErrCorrupt, "which is for trials alone"},
		"format 0":        {forge(6, func(e *Event) { e.Format = 0 }), ErrCorrupt, "of format 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filled(t)
			r := openDir(t, dir)
			tc.tamper(t, folder{dir})
			_, err := Open(dir, Options{})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("open: got %v, want %v with %q", err, tc.want, tc.text)
			}
			if _, err := r.Verify(t.Context()); !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("verify: got %v, want %v with %q", err, tc.want, tc.text)
			}
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestVerifySaysHowFarItCame(t *testing.T) {
	t.Parallel()
	dir := filled(t)
	r := openDir(t, dir)
	third, err := decodeEvent(read(t, folder{r.Location()}.event(3)))
	if err != nil {
		t.Fatal(err)
	}
	overwrite(t, folder{r.Location()}.event(4), []byte("{}\n"))
	report, err := r.Verify(t.Context())
	if !errors.Is(err, ErrCorrupt) || report != (Report{Events: 3, Head: third.Sum}) {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestTheLastEventMustStay(t *testing.T) {
	t.Parallel()
	f := newFactory(t)
	for name, tamper := range map[string]func(*testing.T, folder){
		"removed": func(t *testing.T, f folder) { t.Helper(); remove(t, f.event(5)) },
		"another folder": func(t *testing.T, f folder) {
			t.Helper()
			if err := os.RemoveAll(f.dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := openDir(t, filled(t))
			tamper(t, folder{r.Location()})
			if _, err := r.Register(t.Context(), f.make(9), "train"); !errors.Is(err, ErrCorrupt) ||
				!strings.Contains(err.Error(), "removed or replaced since it was read") {
				t.Error(err)
			}
		})
	}
}

func TestTamperedBlobs(t *testing.T) {
	t.Parallel()
	f, dir := newFactory(t), filled(t)
	r := openDir(t, dir)
	v, err := r.Resolve(t.Context(), "@2", "house-prices")
	if err != nil {
		t.Fatal(err)
	}
	path := folder{r.Location()}.blob(v.Digest)
	good := read(t, path)
	check := func(what, text string) {
		t.Helper()
		if err := loadError(r, v); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: load: %v", what, err)
		}
		if report, err := r.Verify(t.Context()); !errors.Is(err, ErrCorrupt) || report.Events != 5 || report.Blobs != 1 {
			t.Errorf("%s: verify: %+v, %v", what, report, err)
		}
		if _, err := r.Approve(t.Context(), v.Ref(), "", Decision{By: "eva", Reason: "looks good"}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: approve: %v", what, err)
		}
	}
	for i := 0; i < len(good); i += 97 {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		overwrite(t, path, bad)
		if err := loadError(r, v); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	check("flipped", "does not hold what was registered")
	if _, err := r.Register(t.Context(), good, "train"); !errors.Is(err, ErrCorrupt) {
		t.Error("the blob of a version was replaced:", err)
	}
	overwrite(t, path, good[:len(good)-1])
	check("cut off", "does not hold")
	overwrite(t, path, append(bytes.Clone(good), '\n'))
	check("longer", "does not hold")
	remove(t, path)
	check("missing", "is missing")
	if got := mustRegister(t, r, good); got.Number != 2 {
		t.Error(got)
	}
	mustVerify(t, r)
	mustRegister(t, r, f.make(3))
}

// TestFlippedBundlesAreNeverLoaded flips bytes all over a bundle, one after the other: neither the registry nor the package that
// reads bundles takes it, and each says what is wrong.
func TestFlippedBundlesAreNeverLoaded(t *testing.T) {
	t.Parallel()
	r := openDir(t, filled(t))
	v, err := r.Resolve(t.Context(), "@2", "house-prices")
	if err != nil {
		t.Fatal(err)
	}
	path := folder{r.Location()}.blob(v.Digest)
	good := read(t, path)
	file := filepath.Join(t.TempDir(), "bundle"+model.Extension)
	section := regexp.MustCompile(`section ([a-z_0-9]+): its checksum`)
	named := map[string]bool{}
	for i := 0; i < len(good); i += 17 {
		bad := bytes.Clone(good)
		bad[i] ^= 1 << (i % 8)
		overwrite(t, path, bad)
		if err := loadError(r, v); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path+" does not hold what was registered") {
			t.Fatalf("byte %d: the registry gives it: %v", i, err)
		}
		if err := os.WriteFile(file, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := model.Open(file)
		if !errors.Is(err, model.ErrCorrupt) && (i > 16 || !errors.Is(err, model.ErrNotBundle)) {
			t.Fatalf("byte %d: it is opened: %v", i, err)
		}
		if m := section.FindStringSubmatch(err.Error()); m != nil {
			named[m[1]] = true
		}
	}
	for line := range strings.Lines(string(good)) { // the index
		name, rest, _ := strings.Cut(line, " ")
		if (strings.HasPrefix(rest, "critical ") || strings.HasPrefix(rest, "optional ")) && !named[name] {
			t.Errorf("no flip in the section %s was found there: it was not tried, or is not named", name)
		}
	}
	if len(named) < 5 {
		t.Errorf("sections named: %v", named)
	}
}

func TestLitterIsRemoved(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))
	old := time.Now().Add(-2 * litterAge)
	for name, age := range map[string]time.Time{
		".millrace-1-a" + durable.TempSuffix: old, ".millrace-2-b" + durable.TempSuffix: time.Now(), "README": old,
	} {
		path := filepath.Join(folder{r.Location()}.tmp(), name)
		if err := os.WriteFile(path, []byte("half an ev"), 0o444); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, age, age); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{".DS_Store", "000000002.json.bak", "2.json", "0000000002.json", ".millrace-3-c.tmp"} {
		if err := os.WriteFile(filepath.Join(folder{r.Location()}.events(), name), []byte("not an event"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	mustApprove(t, r, "@1")
	entries, err := os.ReadDir(folder{r.Location()}.tmp())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if diff := cmp.Diff([]string{".millrace-2-b.tmp", "README"}, names); diff != "" {
		t.Error(diff)
	}
	if report := mustVerify(t, openDir(t, r.Location())); report.Events != 2 {
		t.Errorf("%+v", report)
	}
}

func FuzzDecodeEvent(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"format":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, in := range [][]byte{data, sealed(data)} {
			e, err := decodeEvent(in)
			if err != nil {
				if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
					t.Fatalf("an error of no kind: %v", err)
				}
				continue
			}
			if err := newState(nil).apply(e); err != nil && !errors.Is(err, ErrCorrupt) {
				t.Fatalf("an error of no kind: %v", err)
			}
		}
	})
}

// sealed puts the sum that is right at the end of data, in place of the last bytes.
func sealed(data []byte) []byte {
	body := data[:max(0, len(data)-sumSize)]
	return append(bytes.Clone(body), sumPrefix+model.Digest(body)+sumSuffix...)
}
