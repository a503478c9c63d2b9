package query

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"millrace.dev/internal/auth"
	"millrace.dev/internal/server"
	"millrace.dev/internal/testenv"
)

// pair is two instances that share the partitions, and keys that all have been counted once.
type pair struct {
	a, b *instance
	with func(http.HandlerFunc) // has the address of b answer something else; nil is what b does
}

const pairKeys = 24

// pairTimeout returns how long an answer of a may take.
func pairTimeout() time.Duration {
	if testenv.FakeTime {
		return defaultTimeout
	}
	return time.Second
}

func (w *world) pair() *pair {
	w.t.Helper()
	var does atomic.Pointer[http.HandlerFunc]
	p := &pair{with: func(h http.HandlerFunc) { does.Store(&h) }}
	p.with(nil)
	p.a = w.run(func(o *setup) { o.timeout = pairTimeout() })
	for i := range pairKeys {
		w.put(keyOf(i), int64(i), timeOf(i))
	}
	w.until("all to be counted", func() bool { return p.a.all(pairKeys, 1) })
	p.b = w.run(func(o *setup) {
		o.serve = func(in *instance) (string, func()) {
			return w.serve(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if h := *does.Load(); h != nil {
					h(rw, r)
					return
				}
				in.ServeHTTP(rw, r)
			}))
		}
	})
	w.split(p.a, p.b)
	w.until("each to answer all", func() bool { return p.a.all(pairKeys, 1) && p.b.all(pairKeys, 1) })
	return p
}

// TestBadNeighbour has the address of one instance answer everything but what it should: the other says what is wrong, with no half
// of an answer, unless that is asked for, and in time.
func TestBadNeighbour(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.pair()
		there, own := "", 0
		for i := range pairKeys {
			if in := p.a.here(keyOf(i)); in {
				own++
			} else {
				there = keyOf(i)
			}
		}
		text := func(status int, body string) http.HandlerFunc {
			return func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(status)
				_, _ = io.WriteString(rw, body) // who asks may be gone
			}
		}
		var asked atomic.Int64
		again, stop := w.serve(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
		defer stop()
		for _, x := range []struct {
			name, want string
			do         http.HandlerFunc
		}{
			{"says nothing", "it does not answer in time", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
			{"stops in between", "it does not answer in time", func(rw http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(rw, `{"store":"last",`)
				_ = http.NewResponseController(rw).Flush() // who asks may be gone
				<-r.Context().Done()
			}},
			{"breaks off", "its answer breaks off", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Length", "1000")
				_, _ = io.WriteString(rw, `{"store":`)
			}},
			{"hangs up", "it does not answer: EOF", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
			{"is a page", "with status 200 what is no answer", text(200, "<html>")},
			{"is another program", "it answers with status 404 what is no answer", text(404, "404 page not found\n")},
			{"sends on", "it sends on to another place, with status 307", func(rw http.ResponseWriter, r *http.Request) {
				http.Redirect(rw, r, again+r.URL.String(), http.StatusTemporaryRedirect)
			}},
			{"has failed", "it answers with status 500: the store cannot be read", text(500, `{"error":"the store cannot be read"}`)},
			{"knows nobody", "it answers with status 401: no token", text(401, `{"error":"no token"}`)},
			{"answers for itself", "it answers what it was not asked", text(200, `{"store":"last","rows":[],"partitions":[{"partition":9}]}`)},
			{"answers half", "it answers what it was not asked", text(200, `{"store":"last","rows":[],"partitions":[]}`)},
			{"is of another application", "it answers with status 421: this is an instance of shop, not of", func(rw http.ResponseWriter, r *http.Request) {
				r.Header.Set(HeaderApplication, "another")
				p.b.ServeHTTP(rw, r)
			}},
			{"has lost it", "the task is not with this instance", func(rw http.ResponseWriter, r *http.Request) {
				_, _ = fmt.Fprintf(rw, `{"store":"last","missing":[%s]}`, missing(r))
			}},
		} {
			p.with(x.do)
			for _, path := range []string{"row?key=" + there, "rows?", "rows?key=" + there} {
				var f Fault
				began := time.Now()
				status := p.a.get("/v1/stores/last/"+path, &f)
				if status != http.StatusServiceUnavailable || !strings.Contains(f.Error, x.want) || len(f.Missing) == 0 || len(f.Missing) > partitions/2 {
					t.Errorf("%s: %s: status %d: %+v", x.name, path, status, f)
				}
				if took := time.Since(began); testenv.FakeTime && took >= pairTimeout() {
					t.Errorf("%s: %s took %v", x.name, path, took)
				}
			}
			var some Answer
			if status := p.a.get("/v1/stores/last/rows?partial=true", &some); status != http.StatusOK || len(some.Rows) != own || len(some.Missing) != partitions/2 || len(some.Partitions) != partitions/2 {
				t.Errorf("%s: status %d, %d rows of %d, missing %+v", x.name, status, len(some.Rows), own, some.Missing)
			}
		}
		if asked.Load() != 0 {
			t.Error("the instance went where it was sent on to")
		}
		p.with(nil)
		w.until("there to be answers once all is well", func() bool { return p.a.all(pairKeys, 1) })
	})
}

// here tells whether an instance has the partition of a key of the last values itself.
func (in *instance) here(key string) bool {
	return in.get("/v1/stores/last/row?key="+key, nil, HeaderForwarded, "test") != http.StatusMisdirectedRequest
}

// missing returns what an instance says that has none of the partitions it is asked for.
func missing(r *http.Request) string {
	var list []string
	for p := range strings.SplitSeq(r.URL.Query().Get("partition"), ",") {
		list = append(list, fmt.Sprintf(`{"partition":%s,"reason":"the task is not with this instance"}`, p))
	}
	return strings.Join(list, ",")
}

// TestLeaveMeanwhile has an instance leave the group while it is asked for its part of a range: the answer is all rows, or none.
func TestLeaveMeanwhile(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.pair()
		var left atomic.Bool
		p.with(func(http.ResponseWriter, *http.Request) {
			if !left.Swap(true) {
				p.b.cancel()
				<-p.b.done
			}
			panic(http.ErrAbortHandler)
		})
		w.until("the other to have all", func() bool {
			var out struct {
				Answer

				Error string `json:"error"`
			}
			switch status := p.a.get("/v1/stores/last/rows?", &out); {
			case status == http.StatusOK && len(out.Rows) == pairKeys && len(out.Partitions) == partitions:
				return true
			case status != http.StatusServiceUnavailable || len(out.Rows) > 0 || out.Error == "" || len(out.Missing) == 0:
				t.Fatalf("status %d: %+v", status, out)
			}
			return false
		})
		if !left.Load() {
			t.Error("the instance that left was not asked")
		}
	})
}

// TestCutOff has an instance lose the brokers: it says that it cannot tell who has what it has not, and later that it has nothing.
func TestCutOff(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		p := w.pair()
		p.a.cut(true)
		told := false
		w.until("it to have nothing", func() bool {
			var out Answer
			status := p.a.get("/v1/stores/last/rows?partial=true", &out)
			for _, m := range out.Missing {
				told = told || strings.HasPrefix(m.Reason, "who has it cannot be told: ")
			}
			if status == http.StatusOK && len(out.Partitions)+len(out.Missing) != partitions {
				t.Fatalf("%+v", out)
			}
			return status == http.StatusServiceUnavailable && len(out.Missing) == partitions
		})
		if !told {
			t.Error("nobody was told why")
		}
		w.until("the other to have all", func() bool { return p.b.all(pairKeys, 1) })
		p.a.cut(false)
		w.until("it to be back", func() bool { return p.a.all(pairKeys, 1) })
	})
}

// byName knows clients by the name in their certificate, and by a token: those that are readers are.
type byName struct{}

func (byName) Authenticate(r *http.Request) (*auth.Principal, error) {
	for _, c := range r.TLS.PeerCertificates {
		if strings.HasPrefix(c.Subject.CommonName, "reader") {
			return &auth.Principal{Name: c.Subject.CommonName, Roles: []auth.Role{auth.Reader}}, nil
		}
	}
	if r.Header.Get("Authorization") == "Bearer x" {
		return &auth.Principal{Name: "x", Roles: []auth.Role{auth.Reader}}, nil
	}
	return &auth.Principal{}, nil
}

// secured has an instance speak TLS, with the files of certificates, and ask others with the authority of the file ca.
func (w *world) secured(ca string, files server.TLS) func(*setup) {
	return func(o *setup) {
		o.transport = w.transport(ca, files.Cert, files.Key)
		o.serve = func(in *instance) (string, func()) {
			router := server.NewRouter()
			routes := (&API{}).Routes()
			for i := range routes {
				routes[i].Handler = in
			}
			if err := router.Add(routes...); err != nil {
				w.t.Fatal(err)
			}
			s, err := server.New(router, server.Options{Auth: byName{}, TLS: files})
			if err != nil {
				w.t.Fatal(err)
			}
			l, host := w.listen()
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = s.Serve(context.WithoutCancel(w.t.Context()), l) // until it is closed
			}()
			return "https://" + host, func() {
				_ = s.Close() // which says that it is closed
				<-done
			}
		}
	}
}

// TestTLS has instances pass requests on over TLS, with a token and with certificates of clients; and says what to do where one does
// not trust the other.
func TestTLS(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		dir, other, ours, strange := t.TempDir(), t.TempDir(), testenv.NewAuthority(t), testenv.NewAuthority(t)
		ca, strangeCA := ours.File(t, dir), strange.File(t, other)
		issue := func(by *testenv.Authority, dir, name, host string) server.TLS {
			cert, key := by.Issue(t, dir, name, host)
			return server.TLS{Cert: cert, Key: key, ClientCA: ca}
		}
		good := issue(ours, dir, "reader-1", "localhost")
		a := w.run(w.secured(ca, good))
		w.http = &http.Client{Transport: w.transport(ca, good.Cert, good.Key)}
		for i := range pairKeys {
			w.put(keyOf(i), int64(i), timeOf(i))
		}
		w.until("all to be counted", func() bool { return a.all(pairKeys, 1) })
		b := w.run(w.secured(ca, issue(ours, dir, "reader-2", "localhost")))
		w.split(a, b)
		w.until("each to answer all", func() bool { return a.all(pairKeys, 1) && b.all(pairKeys, 1) })
		for _, r := range b.requests() {
			if r.Header.Get(HeaderForwarded) == a.engine.Instance() && (r.TLS == nil || len(r.TLS.PeerCertificates) != 1 || r.TLS.PeerCertificates[0].Subject.CommonName != "reader-1") {
				t.Fatal("a request was passed on without the certificate of the instance")
			}
		}

		// Instances that take the place of the other one, by what is wrong with them.
		for _, x := range []struct {
			name, want, token string
			do                func(*setup)
		}{
			{"is of another authority", "add the authority that signed it to query.ca_file", "", w.secured(ca, issue(strange, other, "reader-3", "localhost"))},
			{"is of another name", "query.advertise has to have a name that is in it", "", w.secured(ca, issue(ours, dir, "reader-4", "elsewhere"))},
			{"does not know the certificate", "an authority of its query.tls.client_ca_file has to have signed the certificate of query.tls here", "", func() func(*setup) {
				files := issue(ours, dir, "reader-5", "localhost")
				files.ClientCA = strangeCA
				return w.secured(ca, files)
			}()},
			{"speaks no TLS, and says so", "is not sent there without", "Bearer x", func(*setup) {}},
			{"speaks no TLS", "it does not speak TLS, and its address says so", "", func(o *setup) {
				o.serve = func(in *instance) (string, func()) {
					u, stop := w.serve(in)
					return strings.Replace(u, "http:", "https:", 1), stop
				}
			}},
			{"says that it speaks no TLS", "it speaks TLS, and its address does not say so", "", func(o *setup) {
				w.secured(ca, good)(o)
				serve := o.serve
				o.serve = func(in *instance) (string, func()) {
					u, stop := serve(in)
					return strings.Replace(u, "https:", "http:", 1), stop
				}
			}},
		} {
			b.stop()
			w.until("the first to have all", func() bool { return a.all(pairKeys, 1) })
			b = w.run(x.do)
			var said string // last
			defer func() {
				if t.Failed() {
					t.Logf("%s: %s", x.name, said)
				}
			}()
			w.until(x.name, func() bool {
				var f Fault
				header := []string{"Authorization", x.token}
				status := a.get("/v1/stores/last/rows", &f, header...)
				said = f.Error
				return status == http.StatusServiceUnavailable && strings.Contains(said, x.want)
			})
			for _, r := range b.requests() {
				if r.TLS == nil && r.Header.Get("Authorization") != "" {
					t.Errorf("%s: the token was sent in the open", x.name)
				}
			}
		}

		// One that is no reader by its certificate passes on what comes with a token, and not what comes with a certificate.
		b.stop()
		w.until("the first to have all", func() bool { return a.all(pairKeys, 1) })
		b = w.run(w.secured(ca, issue(ours, dir, "writer", "localhost")))
		w.until("it to be told what to do", func() bool {
			var f Fault
			return b.get("/v1/stores/last/rows", &f) == http.StatusServiceUnavailable && strings.Contains(f.Error, "for who comes without a token the certificate of this instance")
		})
		var all Answer
		if status := b.get("/v1/stores/last/rows", &all, "Authorization", "Bearer x"); status != http.StatusOK || len(all.Rows) != pairKeys {
			t.Errorf("with a token: status %d, %d rows", status, len(all.Rows))
		}
	})
}

// TestTransport says what is wrong with a file of authorities.
func TestTransport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := testenv.NewAuthority(t).Issue(t, dir, "x")
	if _, err := NewTransport(cert, cert, key); err != nil {
		t.Error(err)
	}
	if _, err := NewTransport(key, "", ""); err != ErrNoCertificate { //nolint:errorlint // it is not wrapped
		t.Errorf("a key: %v", err)
	}
	if _, err := NewTransport(filepath.Join(dir, "none"), "", ""); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no file: %v", err)
	}
}

// TestSilence does not repeat what is asked for.
func TestSilence(t *testing.T) {
	t.Parallel()
	err := silence(&url.Error{Op: "Get", URL: "http://x/?key=secret", Err: io.ErrUnexpectedEOF})
	if strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) {
		t.Errorf("got %v", err)
	}
}
