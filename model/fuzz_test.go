package model

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"testing"
)

// checkDecode wants a clean error, or a bundle that is written as the bytes it was read from.
func checkDecode(t *testing.T, data []byte) {
	t.Helper()
	b, err := Decode(data)
	if err == nil {
		if back := encode(t, b); !bytes.Equal(back, data) {
			t.Fatalf("read from\n%q\nwritten as\n%q", data, back)
		}
		return
	}
	for _, want := range []error{ErrNotBundle, ErrCorrupt, ErrNewer, ErrTooLarge} {
		if errors.Is(err, want) {
			return
		}
	}
	t.Fatalf("an error of no kind: %v", err)
}

// repair makes the checksums of a file right where it can tell what they are of.
func repair(data []byte) []byte {
	head, bodies, ok := bytes.Cut(data, []byte("\n\n"))
	if !ok {
		return append(data, seal(data)...)
	}
	bodies = bodies[:max(0, len(bodies)-sealSize)]
	lines := bytes.Split(head, []byte("\n"))
	rest := bodies
	for i, line := range lines {
		f := bytes.Split(line, []byte(" "))
		if i == 0 || len(f) != 4 {
			continue
		}
		n, err := strconv.ParseUint(string(f[2]), 10, 62)
		if n = min(n, uint64(len(rest))); err == nil {
			f[3] = fmt.Appendf(nil, "%x", sha256.Sum256(rest[:n]))
			rest = rest[n:]
		}
		lines[i] = bytes.Join(f, []byte(" "))
	}
	out := append(bytes.Join(lines, []byte("\n")), "\n\n"...)
	out = append(out, bodies...)
	return append(out, seal(out)...)
}

func FuzzDecode(f *testing.F) {
	good := encode(f, small(f))
	f.Add(good)
	f.Add([]byte(firstLine))
	f.Add(pack([]section{{"manifest", true, []byte("{}\n")}, {"note", false, []byte("hello\n")}}))
	if !bytes.Equal(repair(good), good) {
		f.Fatal("a good file is changed by its repair")
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		checkDecode(t, data)
		checkDecode(t, repair(data))
	})
}

// FuzzDecodeSection replaces the content of one section of a good file, or adds a section.
func FuzzDecodeSection(f *testing.F) {
	good := sections(f, encode(f, small(f)))
	for _, s := range good {
		f.Add(s.name, s.critical, s.data)
	}
	for _, s := range sections(f, encode(f, evaluated(f))) {
		f.Add(s.name, s.critical, s.data)
	}
	f.Add("profiles", false, []byte("later"))
	f.Fuzz(func(t *testing.T, name string, critical bool, content []byte) {
		var edited []section
		found := false
		for _, s := range good {
			if s.name == name {
				s, found = section{name, critical, content}, true
			} else if s.name > name && !found && s.name != partManifest {
				edited, found = append(edited, section{name, critical, content}), true
			}
			edited = append(edited, s)
		}
		if !found {
			edited = append(edited, section{name, critical, content})
		}
		checkDecode(t, pack(edited))
	})
}
