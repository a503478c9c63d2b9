package registry

import (
	"errors"
	"net/http"
	"path/filepath"
	"testing"

	"millrace.dev/internal/registry/objects"
	"millrace.dev/internal/registry/objects/fakes3"
)

// place is where a registry of a test is.
type place struct{ location string }

// below returns a place inside this one.
func (p place) below(t *testing.T, name string) place {
	t.Helper()
	if !objects.IsAddress(p.location) {
		return place{filepath.Join(p.location, name)}
	}
	a, err := objects.ParseAddress(p.location)
	if err != nil {
		t.Fatal(err)
	}
	a.Prefix += name + "/"
	return place{a.String()}
}

// put makes an object hold data, or removes it if that is nil, as one does who tampers with it.
func (p place) put(t *testing.T, name string, data []byte) {
	t.Helper()
	s := p.store(t)
	err := s.Remove(t.Context(), name)
	if err == nil && data != nil {
		err = s.Create(t.Context(), name, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (p place) get(t *testing.T, name string) []byte {
	t.Helper()
	data, err := p.store(t).Read(t.Context(), name, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func (p place) store(t *testing.T) objects.Store {
	t.Helper()
	s, err := objects.Open(p.location)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachPlace runs a test on a registry of each kind: a folder, a bucket of a server that fails now and then, and a bucket
// of a real server, where there is one.
func eachPlace(t *testing.T, test func(t *testing.T, p place)) {
	t.Helper()
	for kind, newPlace := range map[string]func(*testing.T) place{"folder": folderPlace, "fake": fakePlace, "s3": s3Place} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, newPlace(t))
		})
	}
}

func folderPlace(t *testing.T) place {
	t.Helper()
	return place{filepath.Join(t.TempDir(), "models")}
}

// fakePlace is a bucket of a server of which every 23rd request fails, in each way in turn.
func fakePlace(t *testing.T) place {
	t.Helper()
	faults := fakes3.Faults()
	s := fakes3.Start("models", fakes3.Options{Fault: func(n int, _ *http.Request) fakes3.Fault {
		if n%23 != 22 {
			return fakes3.None
		}
		return faults[n/23%len(faults)]
	}})
	t.Cleanup(s.Close)
	return place{s.Location("team/a")}
}

func TestLifeInEachPlace(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		f, r := newFactory(t), openDir(t, p.location)
		if r.Location() != p.location {
			t.Errorf("location %s, want %s", r.Location(), p.location)
		}
		data := f.make(1)
		if v := mustRegister(t, r, data); v.Number != 1 {
			t.Error(v)
		}
		mustApprove(t, r, "@1")
		mustRegister(t, openDir(t, p.location), f.make(2))
		mustApprove(t, r, "@2")
		mustPromote(t, r, "@2")
		mustReject(t, r, "@2")
		other := openDir(t, p.location)
		v, err := other.Resolve(t.Context(), "@1", "house-prices")
		if err != nil || v.State != StateApproved {
			t.Fatal(v, err)
		}
		if got, err := other.Load(t.Context(), v); string(got) != string(data) || err != nil {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		if report := mustVerify(t, other); report.Events != 6 || report.Blobs != 2 {
			t.Errorf("%+v", report)
		}
	})
}

// TestLongLog reads more events than are asked for at once.
func TestLongLog(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		f, r := newFactory(t), openDir(t, p.location)
		mustRegister(t, r, f.make(1))
		for range readAhead {
			mustApprove(t, r, "@1")
			if _, err := r.Retire(t.Context(), "@1", "house-prices", Decision{By: "eva", Reason: "enough"}); err != nil {
				t.Fatal(err)
			}
		}
		other := openDir(t, p.location)
		if report := mustVerify(t, other); report.Events != 2*readAhead+1 {
			t.Errorf("%+v", report)
		}
		gone := eventName(readAhead + 5)
		p.put(t, gone, nil)
		if _, err := Open(p.location, Options{}); !errors.Is(err, ErrCorrupt) || !containsAll(err.Error(), gone, "is missing, though later events are there") {
			t.Error(err)
		}
	})
}

func TestTamperedObjects(t *testing.T) {
	t.Parallel()
	eachPlace(t, func(t *testing.T, p place) {
		t.Helper()
		f, r := newFactory(t), openDir(t, p.location)
		v := mustRegister(t, r, f.make(1))
		mustApprove(t, r, "@1")
		blob := blobID{digest: v.Digest}.name()
		good := p.get(t, blob)
		for what, bad := range map[string][]byte{
			"flipped": flip(good, len(good)/2), "cut off": good[:len(good)-1], "longer": append(flip(good, 0), 0), "missing": nil,
		} {
			p.put(t, blob, bad)
			_, verifyErr := r.Verify(t.Context())
			for _, err := range []error{loadError(r, v), verifyErr} {
				if !errors.Is(err, ErrCorrupt) || !containsAll(err.Error(), blob) {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		p.put(t, blob, nil)
		if got := mustRegister(t, r, good); got.Number != 1 { // what is missing is put back
			t.Error(got)
		}
		mustVerify(t, r)
		for seq := range 2 {
			name := eventName(seq + 1)
			event := p.get(t, name)
			p.put(t, name, flip(event, 30))
			if _, err := Open(p.location, Options{}); !errors.Is(err, ErrCorrupt) || !containsAll(err.Error(), name) {
				t.Errorf("%s: %v", name, err)
			}
			p.put(t, name, event)
		}
		mustVerify(t, r)
	})
}
