package remote

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
)

// resolver answers as a line of the corpus says, one lookup after the other.
type resolver struct {
	answers []string
	names   []string
}

func (r *resolver) look(_ context.Context, _, host string) ([]netip.Addr, error) {
	r.names = append(r.names, host)
	if len(r.answers) == 0 || r.answers[0] == "" {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	var out []netip.Addr
	for text := range strings.SplitSeq(r.answers[0], ",") {
		out = append(out, netip.MustParseAddr(text))
	}
	r.answers = r.answers[1:]
	return out, nil
}

// errDialled says to which address a connection was to be made.
type dialledError struct{ address string }

func (e *dialledError) Error() string { return "dialled " + e.address }

// TestAddresses walks the corpus of URLs: it looks at what is dialled, through all of New and a call.
func TestAddresses(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/ssrf.txt")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	cases := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		parts := strings.Split(line, "|")
		if len(parts) != 4 {
			t.Fatalf("%q has %d parts", line, len(parts))
		}
		for i := range parts {
			parts[i] = strings.TrimSpace(parts[i])
		}
		cases++
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			walk(t, parts[0], parts[1], strings.Split(parts[2], ";"), strings.Split(parts[3], ";"))
		})
	}
	if cases < 150 {
		t.Errorf("%d cases: the corpus was not read", cases)
	}
}

func walk(t *testing.T, url, hosts string, answers, verdicts []string) {
	t.Helper()
	r := &resolver{answers: answers}
	o := Options{URL: url, Protocol: MLflow}
	if hosts != "" {
		o.Hosts = strings.Split(hosts, ",")
	}
	var dialled []string
	m, err := newModel(o, outside{look: r.look, dial: func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return nil, &dialledError{address}
	}})
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || e.Class != Forbidden || verdicts[0] != "url" {
			t.Errorf("got %v, want %v", err, verdicts)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error tells the password: %v", err)
		}
		return
	}
	defer m.Close()
	for i, want := range verdicts {
		dialled = nil
		_, err = m.Score(t.Context(), numbers(1))
		e, ok := errors.AsType[*Error](err)
		if !ok {
			t.Fatalf("got %v, want an error", err)
		}
		got := ""
		switch {
		case len(dialled) > 0:
			got = dialled[0]
		case e.Class == Forbidden:
			got = "address"
		case e.Class == Unavailable:
			got = "unknown"
		}
		if got != want {
			t.Errorf("call %d: got %s, want %s: %v", i+1, got, want, err)
		}
	}
	for _, name := range r.names {
		if name != strings.ToLower(name) || strings.ContainsAny(name, "%@[]") {
			t.Errorf("looked up %q", name)
		}
	}
}

// TestDialsWhatWasChecked resolves once for a connection, and gives the address that was checked to what connects.
func TestDialsWhatWasChecked(t *testing.T) {
	t.Parallel()
	r := &resolver{answers: []string{"93.184.215.14,10.0.0.1", "169.254.169.254"}}
	var dialled []string
	m, err := newModel(Options{URL: "http://models.example", Protocol: MLflow}, outside{look: r.look, dial: func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = append(dialled, address)
		return nil, &dialledError{address}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if _, err := m.Score(t.Context(), numbers(1)); err == nil {
		t.Fatal("no error")
	}
	if strings.Join(dialled, " ") != "93.184.215.14:80 10.0.0.1:80" || len(r.names) != 1 {
		t.Errorf("dialled %v after %d lookups: want both addresses of the one lookup", dialled, len(r.names))
	}
}

func FuzzPlace(f *testing.F) {
	for _, url := range []string{"http://a.b/c", "https://[::1]:1/", "http://127.0.0.1.", "http://0x7f.1", "http://a@b", "http://a%41"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		p, err := parsePlace(url)
		if err != nil {
			return
		}
		again, err := parsePlace(p.String())
		if err != nil || again != p {
			t.Errorf("%q is %+v, and that is %+v, %v", url, p, again, err)
		}
		if p.addr.IsValid() {
			return
		}
		// A name that programs take for an address, in whatever form, would be dialled without the check of that address.
		last := p.host[strings.LastIndexByte(p.host, '.')+1:]
		if last == "" || strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x") {
			t.Errorf("%q has the name %q", url, p.host)
		}
	})
}
