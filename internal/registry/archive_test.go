package registry

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"millrace.dev/model"
)

func mustExport(t testing.TB, r *Registry, ref string) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := r.Export(t.Context(), ref, "house-prices", &b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExportAndImport(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		f, from := newFactory(t), openDir(t, p.location)
		mustRegister(t, from, f.make(1))
		v := mustRegister(t, from, f.make(2))
		mustApprove(t, from, "@2")
		mustPromote(t, from, "@2")
		archive := mustExport(t, from, "@2")
		if !bytes.Equal(archive, mustExport(t, openDir(t, p.location), "@champion")) {
			t.Error("the same version makes two archives")
		}

		to := openDir(t, t.TempDir())
		mustRegister(t, to, f.make(7))
		got, err := to.Import(t.Context(), bytes.NewReader(archive), "carl")
		if err != nil || got.Number != 2 || got.State != StateCandidate || got.Digest != v.Digest || got.RegisteredBy != "carl" {
			t.Fatalf("%+v %v", got, err)
		}
		log, err := to.Log(t.Context())
		const want = "imported, house-prices@2 elsewhere; register by train 2014-07-10; approve by anna 2014-07-10 (good); promote by anna 2014-07-10 (better)"
		if err != nil || log[1].Reason != want {
			t.Errorf("got %q, want %q, %v", log[1].Reason, want, err)
		}
		for _, r := range []*Registry{to, from} { // it has these bytes
			before := mustVerify(t, r)
			if v, err := r.Import(t.Context(), bytes.NewReader(archive), "carl"); err != nil || v.Number != 2 {
				t.Error(v, err)
			}
			if after := mustVerify(t, r); after != before {
				t.Errorf("%+v %+v", before, after)
			}
		}
		bare, err := openDir(t, t.TempDir()).Import(t.Context(), bytes.NewReader(f.make(2)), "carl")
		if err != nil || bare.Number != 1 || bare.Digest != v.Digest {
			t.Error(bare, err)
		}
	})
}

// TestArchiveIsAsDocumented reads an archive with nothing but what docs/formats/registry.md says of it.
func TestArchiveIsAsDocumented(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	mustRegister(t, r, f.make(1))
	mustRegister(t, r, f.make(2))
	mustApprove(t, r, "@1")
	a := tar.NewReader(bytes.NewReader(mustExport(t, r, "@1")))
	var names []string
	for {
		h, err := a.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		data, err := io.ReadAll(a)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(h.Name, "events/") && !bytes.Equal(data, read(t, r.Location()+"/"+h.Name)) {
			t.Errorf("%s is not the file of the registry", h.Name)
		}
		if h.Name == "bundle.millrace" && !bytes.Equal(data, f.make(1)) {
			t.Error("another bundle")
		}
	}
	if diff := cmp.Diff([]string{"millrace-model.json", "events/000000001.json", "events/000000003.json", "bundle.millrace"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestEveryFlippedByteOfAnArchiveIsRefused(t *testing.T) {
	t.Parallel()
	f, r := newFactory(t), openDir(t, t.TempDir())
	v := mustRegister(t, r, f.make(1))
	mustApprove(t, r, "@1")
	archive := mustExport(t, r, "@1")
	to := openDir(t, t.TempDir())
	want := mustVerify(t, to)
	for i := range archive {
		bad := bytes.Clone(archive)
		bad[i] ^= 1 << (i % 8)
		_, _, data, err := readArchive(bytes.NewReader(bad))
		if err == nil && model.Digest(data) != v.Digest {
			t.Fatalf("byte %d: another bundle", i)
		}
		if err != nil && !errors.Is(err, ErrArchive) && !errors.Is(err, ErrNewer) {
			t.Fatalf("byte %d: an error of no kind: %v", i, err)
		}
		if i%199 != 0 || err == nil {
			continue
		}
		if _, err := to.Import(t.Context(), bytes.NewReader(bad), "carl"); err == nil {
			t.Fatalf("byte %d was imported", i)
		}
		if _, err := to.Import(t.Context(), bytes.NewReader(archive[:i]), "carl"); err == nil {
			t.Fatalf("%d bytes were imported", i)
		}
	}
	if got := mustVerify(t, to); got != want {
		t.Errorf("a refused archive left something: %+v", got)
	}
}

// file is a file of a made-up archive.
type file struct{ name, content string }

func archiveOf(t testing.TB, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	a := tar.NewWriter(&b)
	for _, f := range files {
		if err := addFile(a, f.name, []byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestForeignArchives(t *testing.T) {
	t.Parallel()
	bundle := string(newFactory(t).make(1))
	digest := model.Digest([]byte(bundle))
	event := func(change func(*Event)) file {
		e := Event{Format: eventFormat, Seq: 4, Time: time.Unix(0, 0).UTC(), Actor: "train", Action: Registered, Model: "house-prices", Version: 3, Digest: digest, Bytes: int64(len(bundle))}
		change(&e)
		data, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		return file{eventName(e.Seq), string(data)}
	}
	head := func(change func(*Exported)) file {
		x := Exported{Format: 1, Model: "house-prices", Version: 3, Digest: digest, Bytes: int64(len(bundle)), Events: 1}
		change(&x)
		return file{archiveHead, string(mustJSON(t, x))}
	}
	asIs := func(*Exported) {}
	rents := func(x *Exported) { x.Model = "rents" }
	good, blob := event(func(*Event) {}), file{archiveBundle, bundle}
	for name, tc := range map[string]struct {
		files []file
		want  error
		text  string
	}{
		"good":            {[]file{head(asIs), good, blob}, nil, ""},
		"no head":         {[]file{good, blob}, ErrArchive, `holds "events/000000004.json" where something else`},
		"no events":       {[]file{head(asIs), blob}, ErrArchive, `holds "bundle.millrace" where something else`},
		"no bundle":       {[]file{head(asIs), good}, ErrArchive, "cut off"},
		"more":            {[]file{head(asIs), good, blob, blob}, ErrArchive, "something follows"},
		"other model":     {[]file{head(rents), event(func(e *Event) { e.Model = "rents" }), blob}, ErrArchive, "it says rents@3, and its bundle is of the model house-prices"},
		"path":            {[]file{head(asIs), {"../../etc/passwd", good.content}, blob}, ErrArchive, "where something else"},
		"later format":    {[]file{head(func(x *Exported) { x.Format = 2 }), good, blob}, ErrNewer, "format 2"},
		"huge head":       {[]file{{archiveHead, strings.Repeat(" ", maxArchiveHead+1)}, good, blob}, ErrArchive, "the limit is 4096"},
		"huge event":      {[]file{head(asIs), {eventName(1), strings.Repeat(" ", maxEvent+1)}, blob}, ErrArchive, "the limit is 65536"},
		"many events":     {[]file{head(func(x *Exported) { x.Events = maxArchiveEvents + 1 }), good, blob}, ErrArchive, "too many events"},
		"no size":         {[]file{head(func(x *Exported) { x.Bytes = 1 << 40 }), good, blob}, ErrArchive, "names no version"},
		"other bundle":    {[]file{head(asIs), good, {archiveBundle, bundle[:len(bundle)-1] + "x"}}, ErrArchive, "the bundle is not the one of house-prices@3"},
		"shorter bundle":  {[]file{head(asIs), good, {archiveBundle, bundle[1:]}}, ErrArchive, "the bundle is not the one"},
		"other version":   {[]file{head(func(x *Exported) { x.Version = 4 }), good, blob}, ErrArchive, "about something else"},
		"other digest":    {[]file{head(asIs), event(func(e *Event) { e.Digest = model.Digest(nil) }), blob}, ErrArchive, "about something else"},
		"begins later":    {[]file{head(asIs), event(func(e *Event) { e.Action, e.Reason = Approved, "x" }), blob}, ErrArchive, "about something else"},
		"escape in name":  {[]file{head(asIs), event(func(e *Event) { e.Actor = "anna\x1b[2J" }), blob}, ErrArchive, "cannot be shown"},
		"lines in reason": {[]file{head(asIs), event(func(e *Event) { e.Reason = "a\nb" }), blob}, ErrArchive, "cannot be shown"},
		"edited event":    {[]file{head(asIs), {good.name, strings.Replace(good.content, "train", "trail", 1)}, blob}, ErrArchive, "its sum does not match"},
		"no bundle at all": {
			[]file{head(func(x *Exported) { x.Digest, x.Bytes = model.Digest([]byte("x")), 1 }), event(func(e *Event) { e.Digest, e.Bytes = model.Digest([]byte("x")), 1 }), {archiveBundle, "x"}},
			model.ErrNotBundle, "",
		},
	} {
		r := openDir(t, t.TempDir())
		_, err := r.Import(t.Context(), bytes.NewReader(archiveOf(t, tc.files...)), "carl")
		if !errors.Is(err, tc.want) || err != nil && !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%s: got %v, want %v with %q", name, err, tc.want, tc.text)
		}
		if report := mustVerify(t, r); tc.want != nil && report.Events > 0 {
			t.Errorf("%s: it was written: %+v", name, report)
		}
	}
}

// TestWhatFollowsAnArchive: nothing but the zeros that tar pads with.
func TestWhatFollowsAnArchive(t *testing.T) {
	t.Parallel()
	r := openDir(t, t.TempDir())
	mustRegister(t, r, newFactory(t).make(1))
	archive := mustExport(t, r, "house-prices@1")
	for name, tc := range map[string]struct {
		tail string
		want error
	}{
		"zeros":           {strings.Repeat("\x00", 8192), nil},
		"text":            {"x", ErrArchive},
		"another archive": {string(archive), ErrArchive},
		"zeros, no end":   {strings.Repeat("\x00", 2<<20), ErrArchive},
	} {
		if _, err := r.Import(t.Context(), strings.NewReader(string(archive)+tc.tail), "carl"); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", name, err, tc.want)
		}
	}
}

// TestProvenanceFits holds that what many long events come to is a reason that the log takes.
func TestProvenanceFits(t *testing.T) {
	t.Parallel()
	x := Exported{Model: "house-prices", Version: 3}
	for _, long := range []string{"x", strings.Repeat("é", maxReason/2)} {
		for _, n := range []int{1, 2, 30, maxArchiveEvents} {
			var events []*Event
			for i := range n {
				e := &Event{Action: Approved, Actor: strings.Repeat("å", maxActor/2), Reason: long}
				if i == n-1 {
					e.Reason = "the last"
				}
				events = append(events, e)
			}
			text := provenance(x, events)
			if !isClean(text, maxReason) || !strings.HasPrefix(text, "imported, house-prices@3 elsewhere; approve by ") || n > 1 && long == "x" && !strings.HasSuffix(text, "(the last)") {
				t.Errorf("%d events: %d bytes: %.100s ... %s", n, len(text), text, text[max(0, len(text)-100):])
			}
		}
	}
}

func FuzzReadArchive(f *testing.F) {
	r := openDir(f, f.TempDir())
	mustRegister(f, r, newFactory(f).make(1))
	mustApprove(f, r, "@1")
	f.Add(mustExport(f, r, "@1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, events, bundle, err := readArchive(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, ErrArchive) && !errors.Is(err, ErrNewer) {
				t.Fatalf("an error of no kind: %v", err)
			}
			return
		}
		if model.Digest(bundle) != x.Digest || len(events) != x.Events || !isClean(provenance(x, events), maxReason) {
			t.Fatalf("%+v", x)
		}
	})
}
