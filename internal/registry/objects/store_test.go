package objects

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"millrace.dev/internal/durable"
	"millrace.dev/internal/registry/objects/fakes3"
)

func TestMain(m *testing.M) {
	// The credentials of every test, whatever the machine has.
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": testAccessKey, "AWS_SECRET_ACCESS_KEY": testSecretKey, "AWS_SESSION_TOKEN": "", "AWS_REGION": "",
	} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// open returns a store that does not wait between two tries.
func open(t *testing.T, location string) Store {
	t.Helper()
	s, err := Open(location)
	if err != nil {
		t.Fatal(err)
	}
	if b, ok := s.(*bucket); ok {
		b.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
	}
	return s
}

func start(t *testing.T, o fakes3.Options) *fakes3.Server {
	t.Helper()
	s := fakes3.Start("models", o)
	t.Cleanup(s.Close)
	return s
}

// each runs a test on a store of each kind.
func each(t *testing.T, test func(t *testing.T, location string)) {
	t.Helper()
	t.Run("folder", func(t *testing.T) {
		t.Parallel()
		test(t, filepath.Join(t.TempDir(), "models"))
	})
	t.Run("bucket", func(t *testing.T) {
		t.Parallel()
		test(t, start(t, fakes3.Options{PageSize: 5}).Location("team/a"))
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		test(t, realLocation(t))
	})
}

func TestStore(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, location string) {
		t.Helper()
		s, ctx := open(t, location), t.Context()
		if s.Location() != location {
			t.Errorf("location %s, want %s", s.Location(), location)
		}
		if _, err := s.Read(ctx, "events/1", 10); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if _, err := s.Stat(ctx, "events/1"); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if names, err := s.List(ctx, "events", ""); len(names) > 0 || err != nil {
			t.Error(names, err)
		}
		if err := s.Remove(ctx, "events/1"); err != nil {
			t.Error(err)
		}
		want := []string{}
		for i := range 12 { // more than two pages of the test's server
			name := fmt.Sprintf("events/%02d", i)
			if err := s.Create(ctx, name, []byte(name)); err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
		}
		if err := s.Create(ctx, "blobs/a/b", nil); err != nil {
			t.Error(err)
		}
		if err := s.Create(ctx, "events/03", []byte("other")); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		if data, err := s.Read(ctx, "events/03", 100); string(data) != "events/03" || err != nil {
			t.Errorf("%q %v", data, err)
		}
		if data, err := s.Read(ctx, "events/03", 3); string(data) != "even" || err != nil {
			t.Errorf("more than one byte too many: %q %v", data, err)
		}
		if data, err := s.Read(ctx, "blobs/a/b", 3); len(data) > 0 || err != nil {
			t.Errorf("%q %v", data, err)
		}
		if i, err := s.Stat(ctx, "events/03"); i.Size != 9 || time.Since(i.Modified).Abs() > time.Minute || err != nil {
			t.Errorf("%+v %v", i, err)
		}
		if names, err := s.List(ctx, "events", ""); !slices.Equal(names, want) || err != nil {
			t.Error(names, err)
		}
		if names, err := s.List(ctx, "events", "events/04"); !slices.Equal(names, want[5:]) || err != nil {
			t.Error(names, err)
		}
		if names, err := s.List(ctx, "blobs", ""); !slices.Equal(names, []string{"blobs/a/b"}) || err != nil {
			t.Error(names, err)
		}
		if now, err := s.Now(ctx); time.Since(now).Abs() > time.Minute || err != nil {
			t.Error(now, err)
		}
		if err := s.Remove(ctx, "events/03"); err != nil {
			t.Error(err)
		}
		if _, err := s.Read(ctx, "events/03", 10); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if !strings.HasSuffix(s.Name("events/03"), "/events/03") {
			t.Error(s.Name("events/03"))
		}
	})
}

func TestOneOfManyCreators(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, location string) {
		t.Helper()
		for round := range 10 {
			name := fmt.Sprint("events/", round)
			var mu sync.Mutex
			var winners []string
			var wg sync.WaitGroup
			for w := range 6 {
				s := open(t, location)
				wg.Go(func() {
					text := fmt.Sprint("writer ", w)
					err := s.Create(t.Context(), name, []byte(text))
					if err != nil && !errors.Is(err, fs.ErrExist) {
						t.Error(err)
					}
					if err == nil {
						mu.Lock()
						winners = append(winners, text)
						mu.Unlock()
					}
				})
			}
			wg.Wait()
			data, err := open(t, location).Read(t.Context(), name, 100)
			if err != nil || len(winners) != 1 || winners[0] != string(data) {
				t.Errorf("winners %q, content %q, %v", winners, data, err)
			}
		}
	})
}

// TestEveryFaultOfEveryRequest fails each request of a create in each way, once and for the rest of the time: what
// create says must then hold.
func TestEveryFaultOfEveryRequest(t *testing.T) {
	t.Parallel()
	for _, fault := range fakes3.Faults() {
		for _, forever := range []bool{false, true} {
			t.Run(fmt.Sprint(fault, forever), func(t *testing.T) {
				t.Parallel()
				server := start(t, fakes3.Options{})
				for n := 0; ; n++ {
					s := open(t, server.Location(fmt.Sprint("run-", n)))
					server.Set(fakes3.Options{Fault: func(i int, _ *http.Request) fakes3.Fault {
						if i == n || forever && i > n {
							return fault
						}
						return fakes3.None
					}})
					err := s.Create(t.Context(), "events/1", []byte("mine"))
					requests := server.Requests()
					got := string(server.Get(fmt.Sprintf("run-%d/events/1", n)))
					if !forever && err != nil || err == nil && got != "mine" {
						t.Fatalf("request %d: %v, and the object holds %q", n, err, got)
					}
					if err != nil && !errors.Is(err, ErrUnreachable) && fault != fakes3.Conflict {
						t.Fatalf("request %d: %v", n, err)
					}
					server.Set(fakes3.Options{})
					if err := s.Create(t.Context(), "events/1", []byte("mine")); err != nil {
						t.Fatalf("again after request %d: %v", n, err)
					}
					if err := s.Create(t.Context(), "events/1", []byte("yours")); !errors.Is(err, fs.ErrExist) {
						t.Fatalf("another after request %d: %v", n, err)
					}
					if requests <= n {
						if n < 3 {
							t.Fatalf("only %d requests", n)
						}
						return
					}
				}
			})
		}
	}
}

func TestReadsAreTriedAgain(t *testing.T) {
	t.Parallel()
	for _, fault := range fakes3.Faults() {
		server := start(t, fakes3.Options{})
		s := open(t, server.Location("x"))
		content := bytes.Repeat([]byte("content "), 10_000)
		if err := s.Create(t.Context(), "events/1", content); err != nil {
			t.Fatal(err)
		}
		first := fakes3.Options{Fault: func(i int, _ *http.Request) fakes3.Fault {
			if i == 0 {
				return fault
			}
			return fakes3.None
		}}
		server.Set(first)
		if data, err := s.Read(t.Context(), "events/1", 1<<20); !bytes.Equal(data, content) || err != nil {
			t.Errorf("%v: %d bytes, %v", fault, len(data), err)
		}
		server.Set(first)
		if names, err := s.List(t.Context(), "events", ""); len(names) != 1 || err != nil {
			t.Errorf("%v: %q, %v", fault, names, err)
		}
	}
}

func TestServersThatOverwriteAreRefused(t *testing.T) {
	t.Parallel()
	server := start(t, fakes3.Options{Overwrites: true})
	err := open(t, server.Location("x")).Create(t.Context(), "events/1", []byte("mine"))
	if !errors.Is(err, ErrSetup) || !strings.Contains(err.Error(), "overwrites objects although it is asked not to") || !strings.Contains(err.Error(), server.URL()) {
		t.Error(err)
	}
	if data := server.Get("x/events/1"); data != nil {
		t.Errorf("it has written %q all the same", data)
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	server := start(t, fakes3.Options{})
	gone := fakes3.Start("models", fakes3.Options{})
	gone.Close()
	for name, tc := range map[string]struct {
		location, denies string
		want             error
		text             []string
	}{
		"no bucket":   {location: "s3://other?endpoint=" + server.URL() + "&region=x", want: ErrSetup, text: []string{"bucket other at " + server.URL(), "there is no such bucket"}},
		"no server":   {location: gone.Location("x"), want: ErrUnreachable, text: []string{"bucket models at " + gone.URL(), "connection refused"}},
		"no right":    {denies: "AccessDenied", want: ErrSetup, text: []string{"these credentials do not allow it", "s3:GetObject"}},
		"wrong key":   {denies: "InvalidAccessKeyId", want: ErrSetup, text: []string{"does not accept the credentials", "AWS_ACCESS_KEY_ID"}},
		"wrong proof": {denies: "SignatureDoesNotMatch", want: ErrSetup, text: []string{"does not accept the credentials"}},
		"wrong clock": {denies: "RequestTimeTooSkewed", want: ErrSetup, text: []string{"the clocks"}},
	} {
		server.Set(fakes3.Options{Denies: tc.denies})
		if tc.location == "" {
			tc.location = server.Location("x")
		}
		s := open(t, tc.location)
		_, err1 := s.List(t.Context(), "events", "")
		_, err2 := s.Read(t.Context(), "events/1", 10)
		err3 := s.Create(t.Context(), "events/1", nil)
		for _, err := range []error{err1, err2, err3} {
			for _, text := range tc.text {
				if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), testSecretKey) {
					t.Errorf("%s: got %v, want %v with %q", name, err, tc.want, text)
				}
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	server := start(t, fakes3.Options{Fault: func(int, *http.Request) fakes3.Fault { return fakes3.Stall }})
	s := open(t, server.Location("x"))
	for _, op := range []func(context.Context) error{
		func(ctx context.Context) error { return s.Create(ctx, "events/1", nil) },
		func(ctx context.Context) error { _, err := s.Read(ctx, "events/1", 1); return err },
		func(ctx context.Context) error { _, err := s.List(ctx, "events", ""); return err },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		server.Set(fakes3.Options{Fault: func(int, *http.Request) fakes3.Fault {
			cancel() // while the request is under way
			return fakes3.Stall
		}})
		if err := op(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
}

func TestCleanTellsAgeByTheFileSystemsClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := NewFolder(dir, durable.OS())
	if n, err := s.Clean(t.Context(), time.Hour, false); n != 0 || err != nil {
		t.Error(n, err)
	}
	if err := s.Create(t.Context(), "events/1", nil); err != nil {
		t.Fatal(err)
	}
	old, fresh, other := filepath.Join(dir, "tmp", "old.tmp"), filepath.Join(dir, "tmp", "fresh.tmp"), filepath.Join(dir, "tmp", "other")
	for _, path := range []string{old, fresh, other} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	past := time.Now().Add(-2 * time.Hour)
	for _, path := range []string{old, other} {
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Clean(t.Context(), time.Hour, true); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := s.Clean(t.Context(), time.Hour, false); n != 1 || err != nil {
		t.Error(n, err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil || len(entries) != 2 {
		t.Error(entries, err)
	}
}

// TestLongListsGoOn breaks every third page of a list off.
func TestLongListsGoOn(t *testing.T) {
	t.Parallel()
	server := start(t, fakes3.Options{})
	for i := range 40 {
		server.Put(fmt.Sprintf("x/events/%02d", i), []byte{1})
	}
	server.Set(fakes3.Options{PageSize: 5, Fault: func(n int, _ *http.Request) fakes3.Fault {
		if n%3 == 2 {
			return fakes3.Drop
		}
		return fakes3.None
	}})
	names, err := open(t, server.Location("x")).List(t.Context(), "events", "events/01")
	if err != nil || len(names) != 38 || names[0] != "events/02" || !slices.IsSorted(names) {
		t.Error(names, err)
	}
}

// TestServersThatStopAreGivenUp holds that a server which accepts a request and then says nothing, or nothing more, does
// not hold its client up.
func TestServersThatStopAreGivenUp(t *testing.T) {
	t.Parallel()
	server := start(t, fakes3.Options{})
	server.Put("x/events/1", bytes.Repeat([]byte("content "), 10_000))
	a, err := ParseAddress(server.Location("x"))
	if err != nil {
		t.Fatal(err)
	}
	const short = 50 * time.Millisecond
	for _, fault := range []fakes3.Fault{fakes3.Stall, fakes3.Stuck} {
		b, err := newBucket(a, server.URL(), credentials.NewStaticV4("key", "secret", ""), newTransport(limits{dial: short, tls: short, answer: short, stall: short}))
		if err != nil {
			t.Fatal(err)
		}
		b.pause = func(ctx context.Context, _ time.Duration) error { return ctx.Err() }
		server.Set(fakes3.Options{Fault: func(int, *http.Request) fakes3.Fault { return fault }})
		if _, err := b.Read(t.Context(), "events/1", 1<<20); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "timeout") {
			t.Errorf("%v: %v", fault, err)
		}
		if n := server.Requests(); n != tries {
			t.Errorf("%v: %d requests, want %d", fault, n, tries)
		}
	}
}

func TestEnough(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long := now.Add(-2 * patience)
	for _, c := range []struct {
		n     int
		began time.Time
		want  bool
	}{{1, now, false}, {1, long, false}, {2, now, false}, {2, long, true}, {tries, now, true}} {
		if got := enough(c.n, c.began); got != c.want {
			t.Errorf("after %d tries in %v: %v", c.n, time.Since(c.began).Round(time.Second), got)
		}
	}
}
