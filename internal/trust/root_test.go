package trust

import (
	"errors"
	"strings"
	"testing"
)

// document returns a root document with two of three root keys needed, and the keys.
func document(t *testing.T) (root *Root, keys []*Key) {
	t.Helper()
	root = NewRoot()
	root.Threshold = 2
	for range 3 {
		k := newTestKey(t)
		keys = append(keys, k)
		root.RootKeys = append(root.RootKeys, k.Public())
	}
	root.People = []Person{
		{Name: "Anna", Key: newTestKey(t).Public(), Roles: []string{"data-scientist", RoleAuthor}},
		{Name: "Anna", Key: newTestKey(t).Public(), Roles: []string{"data-scientist"}},
		{Name: "Rita", Key: newTestKey(t).Public(), Roles: []string{"risk"}},
	}
	root.Policy.Approvals = []Approvals{{"data-scientist", 1}, {"risk", 1}}
	return root, keys
}

func parsed(t *testing.T, r *Root) *SignedRoot {
	t.Helper()
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseRoot(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func signRoot(t *testing.T, s, before *SignedRoot, keys ...*Key) *SignedRoot {
	t.Helper()
	for _, k := range keys {
		if err := s.Sign(k, before); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestThreshold(t *testing.T) {
	t.Parallel()
	r, keys := document(t)
	s := parsed(t, r)
	if _, err := s.EncodeSigned(); err == nil {
		t.Error("a document that nobody signed was written as signed")
	}
	signRoot(t, s, nil, keys[0], keys[0]) // twice is once
	if err := s.Check(); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "root 1 has 1 of the 2 signatures") {
		t.Error(err)
	}
	signRoot(t, s, nil, keys[2])
	if err := s.Check(); err != nil {
		t.Error(err)
	}
	if err := s.Sign(newTestKey(t), nil); !errors.Is(err, ErrInvalid) {
		t.Error("a stranger signed:", err)
	}
	text, err := s.EncodeSigned()
	if err != nil {
		t.Fatal(err)
	}
	back, err := ParseRoot(text)
	if err != nil || back.Check() != nil || back.Digest() != s.Digest() {
		t.Error(back, err)
	}
	for i := range s.envelope.Payload {
		s.envelope.Payload[i] ^= 1
		if s.Check() == nil {
			t.Fatalf("byte %d changed nothing", i)
		}
		s.envelope.Payload[i] ^= 1
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	r, keys := document(t)
	first := signRoot(t, parsed(t, r), nil, keys[0], keys[1])
	fresh := newTestKey(t)
	next := first.Next()
	next.RootKeys = []PublicKey{keys[0].Public(), fresh.Public()}
	follow := func(r *Root, signers ...*Key) error {
		return signRoot(t, parsed(t, r), first, signers...).Follows(first)
	}

	if err := follow(next, keys[0], keys[1], fresh); err != nil {
		t.Error(err)
	}
	for name, tc := range map[string]struct {
		signers []*Key
		want    string
	}{
		"old keys alone": {[]*Key{keys[1], keys[2]}, "root 2 has 0 of the 2 signatures that it needs from its root keys"},
		"new keys alone": {[]*Key{keys[0], fresh}, "root 2 has 1 of the 2 signatures that it needs from the root keys of version 1"},
		"nobody":         {nil, "0 of the 2"},
	} {
		if err := follow(next, tc.signers...); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	skipped := first.Next()
	skipped.Version++
	if err := follow(skipped, keys[0], keys[1]); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "root 3 does not follow root 1") {
		t.Error(err)
	}
	other := first.Next()
	other.Previous = "sha256:" + strings.Repeat("0", 64)
	if err := follow(other, keys[0], keys[1]); !errors.Is(err, ErrUntrusted) || !strings.Contains(err.Error(), "was made to follow another root 1") {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Root)
		want   string
	}{
		"type":              {func(r *Root) { r.Type = "x" }, "type"},
		"version":           {func(r *Root) { r.Version = 0 }, "count from 1"},
		"previous":          {func(r *Root) { r.Previous = "x" }, "previous"},
		"no previous":       {func(r *Root) { r.Version = 2 }, "previous"},
		"threshold 0":       {func(r *Root) { r.Threshold = 0 }, "threshold is 0"},
		"threshold 4":       {func(r *Root) { r.Threshold = 4 }, "threshold is 4, with 3"},
		"key twice":         {func(r *Root) { r.RootKeys[1] = r.RootKeys[0] }, "root_keys[1]"},
		"no key":            {func(r *Root) { r.RootKeys[1] = PublicKey{} }, "root_keys[1]"},
		"no policy":         {func(r *Root) { r.Policy.Approvals = nil }, "demands nothing"},
		"no name":           {func(r *Root) { r.People[0].Name = "" }, "is no name"},
		"name of two lines": {func(r *Root) { r.People[0].Name = "a\nb" }, "is no name"},
		"person's key":      {func(r *Root) { r.People[0].Key = PublicKey{} }, "no public_key"},
		"shared key":        {func(r *Root) { r.People[2].Key = r.People[0].Key }, "Anna and Rita have the same key"},
		"no role":           {func(r *Root) { r.People[2].Roles = nil }, "has no role"},
		"role":              {func(r *Root) { r.People[2].Roles = []string{"A b"} }, "is no role"},
		"until":             {func(r *Root) { r.People[1].Until = &Place{} }, "until"},
		"too many":          {func(r *Root) { r.Policy.Approvals[0].Count = 2 }, "demands 2 of the role data-scientist, which 1 people have"},
		"none":              {func(r *Root) { r.Policy.Approvals[0].Count = 0 }, "demands 0"},
		"unknown role":      {func(r *Root) { r.Policy.Approvals[0].Role = "boss" }, "role boss, which 0 people have"},
		"author approves":   {func(r *Root) { r.Policy.Approvals[0].Role = RoleAuthor }, "no role that approves"},
		"role twice":        {func(r *Root) { r.Policy.Approvals[0].Role = "risk" }, "twice"},
		"no promotions":     {func(r *Root) { r.Policy.Promotions = []string{} }, "lets nobody promote"},
		"by case":           {func(r *Root) { r.People[2].Name = "anna" }, `"anna" and "Anna" are told apart by case or white space alone`},
		"by white space": {func(r *Root) {
			r.People[0].Name, r.People[1].Name, r.People[2].Name = "Anna Z", "Anna Z", "Anna\u00a0Z"
		}, "white space alone"},
		"promotions": {func(r *Root) { r.Policy.Promotions = []string{"boss"} }, "nobody has the role"},
	} {
		r, _ := document(t)
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		tc.change(r)
		if err := r.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", name, err, tc.want)
		}
	}
}

// TestKeysThatHide: what a person reads in a root document before signing it is what counts.
func TestKeysThatHide(t *testing.T) {
	t.Parallel()
	r, _ := document(t)
	text, err := r.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"twice":          {`"threshold": 2,`, `"threshold": 2, "threshold": 1,`},
		"in capitals":    {`"threshold": 2,`, `"threshold": 2, "THRESHOLD": 1,`},
		"only capitals":  {`"threshold": 2,`, `"Threshold": 2,`},
		"a long s":       {`"threshold": 2,`, `"threshold": 2, "thre\u017fhold": 1,`},
		"below":          {`"signed_bundles": true`, `"signed_bundles": true, "signed_bundles": false`},
		"in a list":      {`"name": "Rita",`, `"name": "Rita", "name": "Anna",`},
		"unknown":        {`"threshold": 2,`, `"threshold": 2, "note": "x",`},
		"something else": {`{`, `{} {`},
	} {
		edited := strings.Replace(string(text), edit[0], edit[1], 1)
		if edited == string(text) {
			t.Fatal(name, "changes nothing in", edited)
		}
		if _, err := ParseRoot([]byte(edited)); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMissing(t *testing.T) {
	t.Parallel()
	r, _ := document(t)
	for _, tc := range []struct {
		given      map[string]string
		want, have int
		missing    string
	}{
		{nil, 2, 0, "roles data-scientist, risk are missing"},
		{map[string]string{"Anna": "data-scientist"}, 2, 1, "role risk is missing"},
		{map[string]string{"Anna": "data-scientist", "Bob": "data-scientist"}, 2, 1, "role risk is missing"},
		{map[string]string{"Anna": "data-scientist", "Rita": "risk"}, 2, 2, ""},
	} {
		want, have, missing := r.Missing(tc.given)
		if want != tc.want || have != tc.have || missing != tc.missing {
			t.Errorf("%v: %d, %d, %q", tc.given, want, have, missing)
		}
	}
}
